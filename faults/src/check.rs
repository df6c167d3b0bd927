//! Checks the invariants once everything has recovered and no work is left.

use std::{collections::BTreeMap, time::Duration};

use orderflow_tests::{INVARIANTS, run, run_for};
use tokio::time::{Instant, sleep};

use crate::{
    customers::{Known, SETTLED, Seen, rank},
    examples,
    ledger::Ledger,
    world::World,
};

/// How long a run may take to finish all work.
pub const QUIET: Duration = Duration::from_secs(240);

/// The same with a safeguard left out: lost work never finishes, which is one of the findings.
pub const QUIET_WITHOUT: Duration = Duration::from_secs(20);

/// How long an audit may take: far longer than it needs.
const AUDIT: Duration = Duration::from_secs(600);

/// Invariants that only a fault run can check, besides those of every test and of the audit.
const OWN: &[(&str, &str)] = &[(
    "an event was applied twice by one subscription",
    "SELECT count(*) FROM (SELECT 1 FROM faults.applied WHERE NOT recognised GROUP BY event_id, subscription HAVING count(*) > 1) AS one",
)];

/// Waits until all events are applied; replays orders that an outage parked, and republishes what a recreated queue of
/// the Python service lost. Returns how many orders it replayed; `Err` says what is left.
pub async fn until_quiet(world: &World, within: Duration) -> Result<usize, String> {
    let deadline = Instant::now() + within;
    let mut ledger = Ledger::open(&world.shop).await;
    let mut replayed = 0;
    loop {
        let left = ledger.unfinished(&world.roster).await;
        if left == (0, 0) {
            return Ok(replayed);
        }
        if Instant::now() > deadline {
            return Err(format!("not quiet after {within:?}: {} events to publish, {} to apply", left.0, left.1));
        }
        for order in ledger.parked().await {
            replayed += 1;
            let arguments = ["dlq", "replay", "--order", &order, "--yes"];
            drop(run("orderflow", &arguments, &world.shop.operator_settings()).await);
        }
        for queue in &world.to_republish {
            let mut settings = world.shop.operator_settings();
            settings.push(("RECONCILE_AFTER".to_owned(), "15s".to_owned()));
            drop(run("orderflow", &["republish", "--missing", "--queue", queue, "--yes"], &settings).await);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The findings of [`all`].
pub struct Found {
    /// Violations, a sentence each.
    pub violations: Vec<String>,
    /// Repetitions without effect, by what recognised them.
    pub absorbed: BTreeMap<String, usize>,
}

/// Checks everything. `garbage` is the number of injected messages that belong to no order.
pub async fn all(world: &World, seen: &Seen, garbage: u32) -> Found {
    let mut ledger = Ledger::open(&world.shop).await;
    let mut wrong = seen.violations.clone();
    let of_examples = if world.examples { Vec::from(examples::checks()) } else { Vec::new() };
    let of_examples = of_examples.iter().map(|(what, query)| (*what, query.as_str()));
    for (what, query) in INVARIANTS.iter().chain(OWN).copied().chain(of_examples) {
        let count = ledger.count(query).await;
        if count > 0 {
            wrong.push(format!("{what} ({count} times)"));
        }
    }
    wrong.extend(world.provider.violations(&mut world.shop.database().await).await);
    let (mails, repeated) = world.mail.violations(&ledger.planned_mails().await);
    wrong.extend(mails);
    wrong.extend(stories(&mut ledger, seen).await);
    wrong.extend(ledger.left_in_queues(&world.roster, garbage).await);
    wrong.extend(audit(world).await);
    let recognised = ledger.count("SELECT count(*) FROM faults.applied WHERE recognised").await;
    let absorbed = [
        ("events, by the inbox", usize::try_from(recognised).unwrap_or_default()),
        ("requests of customers, by their key", seen.replayed),
        ("requests to the provider, by their key", world.provider.replays().await),
        ("mails, by their Message-ID", repeated),
    ];
    let absorbed = absorbed.map(|(what, count)| (what.to_owned(), count)).into();
    Found { violations: wrong, absorbed }
}

/// Runs the audit; returns its report if it found anything.
async fn audit(world: &World) -> Option<String> {
    let ended = run_for(AUDIT, "orderflow", &["audit", "--stuck-after", "1s"], &world.shop.operator_settings()).await;
    (ended.code != Some(0)).then(|| format!("orderflow audit: {}{}", ended.out, ended.err))
}

/// Compares the answers that customers got with the stored orders.
async fn stories(ledger: &mut Ledger<'_>, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let (statuses, orders) = (ledger.statuses().await, ledger.orders_by_key().await);
    for story in &seen.stories {
        let key = &story.behaviour.key;
        match (&story.known, orders.get(key)) {
            (Known::Accepted(order), Some(id)) if *id != order.id => {
                wrong.push(format!("key {key} was answered with order {} and has {id}", order.id));
            }
            (Known::Accepted(order), None) => {
                wrong.push(format!("key {key} was answered with order {} and has none", order.id));
            }
            (Known::Refused(status), Some(id)) => {
                wrong.push(format!("key {key} was answered {status} and has order {id}"));
            }
            _ => {}
        }
        let Known::Accepted(order) = &story.known else { continue };
        let last = story.last_status.as_ref().filter(|last| rank(last) == SETTLED);
        match statuses.get(&order.id) {
            None => wrong.push(format!("order {} was accepted and is lost", order.id)),
            Some(status) if last.is_some_and(|last| last != status) => {
                wrong.push(format!("order {} was seen {last:?} and is {status}", order.id));
            }
            Some(_) => {}
        }
    }
    let standing = statuses.iter().filter(|(_, status)| rank(status) != SETTLED);
    wrong.extend(standing.map(|(id, status)| format!("order {id} is still {status}")));
    wrong
}
