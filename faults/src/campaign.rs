//! A run: customers order, things break and are repaired, and at the end everything is checked.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use orderflow_service::fault::Safeguard;
use orderflow_tests::own::Own;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    breakage::{Focus, Kind, Schedule},
    check,
    customers::{self, Known, Opened, Seen},
    world::{Setup, World},
};

/// How long after a fault the next order may take to settle; beyond that the shop did not recover.
const RECOVERY: Duration = Duration::from_secs(90);

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of every random choice.
    pub seed: u64,
    /// How long customers order and things break.
    pub lasts: Duration,
    /// The faults.
    pub kinds: Vec<Kind>,
    /// How long an absence lasts.
    pub away: Duration,
    /// Customers a second.
    pub per_second: u32,
    /// The safeguard left out.
    pub without: Option<Safeguard>,
    /// Where faults strike.
    pub focus: Focus,
    /// Percentage of customers who want the scarce product, and how many pieces there are.
    pub scarce: (u8, u32),
    /// Whether the services in examples/ run too.
    pub examples: bool,
    /// Where to keep the logs, if anywhere.
    pub logs: Option<PathBuf>,
}

/// The versions and options that identify a run besides its plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The commit that the programs were built from, if given.
    pub commit: Option<String>,
    /// RabbitMQ's version.
    pub rabbitmq: String,
    /// The number of its nodes.
    pub nodes: usize,
    /// Whether the services in examples/ ran too.
    #[serde(default)]
    pub examples: bool,
    /// PostgreSQL's version; empty in older results.
    #[serde(default)]
    pub postgres: String,
}

/// The results of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What ran.
    #[serde(flatten)]
    pub made: Made,
    /// The plan's seed.
    pub seed: u64,
    /// The safeguard that the plan left out.
    pub without: Option<String>,
    /// Accepted orders.
    pub orders: usize,
    /// Orders at the end, by status.
    pub statuses: BTreeMap<String, usize>,
    /// Requests whose outcome no customer knows.
    pub unknown: usize,
    /// Answers that customers got, by request.
    pub answers: BTreeMap<String, u64>,
    /// Number of faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// How long an absence lasted, in seconds; missing in older results.
    #[serde(default)]
    pub away_seconds: Option<f64>,
    /// The longest recovery after each kind, in seconds: until an order placed after the repair settles.
    pub recovery_seconds: BTreeMap<String, f64>,
    /// Number of our processes that died at a crash point.
    pub crashes: u32,
    /// Repetitions without effect, by what recognised them.
    pub absorbed: BTreeMap<String, usize>,
    /// Orders that had to be replayed, because an outage had used up their attempts.
    pub replayed: usize,
    /// Total seconds of the run.
    pub seconds: f64,
    /// Violations, a sentence each.
    pub violations: Vec<String>,
}

/// Runs a plan on these servers. Returns the logs' directory if they were kept because of violations.
pub async fn run(own: &mut Own, plan: &Plan, made: &Made) -> (Outcome, Option<PathBuf>) {
    let began = Instant::now();
    let reconcile = plan.kinds.contains(&Kind::QueueDelete);
    let setup =
        Setup { without: plan.without, reconcile, scarce: plan.scarce.1, admission: None, examples: plan.examples };
    let mut world = World::open(own, setup, plan.logs.as_deref()).await;
    let stop = CancellationToken::new();
    let shop = Opened { webs: world.webs.clone(), seed: plan.seed, per_second: plan.per_second, scarce: plan.scarce.0 };
    let coming = tokio::spawn(customers::come(shop, stop.clone()));
    let broken = break_things(own, &mut world, plan, began).await;
    stop.cancel();
    let seen = coming.await.expect("customers do not panic");
    let mut violations = broken.violations.clone();
    let within = if plan.without.is_some() { check::QUIET_WITHOUT } else { check::QUIET };
    let quiet = check::until_quiet(&world, within).await;
    let replayed = quiet.as_ref().copied().unwrap_or_default();
    violations.extend(quiet.err());
    let crashes = world.programs.iter().map(crate::program::Program::crashes).sum();
    for program in world.programs.drain(..) {
        violations.extend(program.stop().await.err());
    }
    let found = check::all(&world, &seen, broken.garbage).await;
    violations.extend(found.violations);
    let logs = (!violations.is_empty()).then(|| {
        world.keep_logs();
        world.logs()
    });
    let statuses = crate::ledger::Ledger::open(&world.shop).await.statuses().await;
    let outcome = Outcome {
        made: made.clone(),
        seed: plan.seed,
        without: plan.without.map(|one| one.as_str().to_owned()),
        orders: count(&seen, |known| matches!(known, Known::Accepted(_))),
        statuses: statuses.into_values().fold(BTreeMap::new(), |mut all, status| {
            *all.entry(status).or_default() += 1;
            all
        }),
        unknown: count(&seen, |known| matches!(known, Known::Unknown)),
        answers: seen.answers,
        faults: broken.faults,
        away_seconds: plan.kinds.iter().any(|kind| kind.is_absence()).then_some(plan.away.as_secs_f64()),
        recovery_seconds: broken.recovery,
        crashes,
        absorbed: found.absorbed,
        replayed,
        seconds: began.elapsed().as_secs_f64(),
        violations,
    };
    (outcome, logs)
}

fn count(seen: &Seen, of: impl Fn(&Known) -> bool) -> usize {
    seen.stories.iter().filter(|story| of(&story.known)).count()
}

#[derive(Default)]
struct Broken {
    faults: BTreeMap<String, u32>,
    recovery: BTreeMap<String, f64>,
    garbage: u32,
    violations: Vec<String>,
}

/// Runs one fault after the other until the time is over. After each, an order shows when the shop has recovered.
async fn break_things(own: &mut Own, world: &mut World, plan: &Plan, began: Instant) -> Broken {
    let mut broken = Broken::default();
    tokio::time::timeout(RECOVERY, until_working(world)).await.expect("an undisturbed shop works");
    let mut schedule = Schedule::new(plan, Instant::now());
    while let Some(fault) = schedule.draw(Instant::now()) {
        sleep(fault.before).await;
        let aftermath = fault.happen(own, world).await;
        broken.garbage += aftermath.garbage;
        broken.violations.extend(aftermath.violations);
        world.wake().await;
        let name = fault.name();
        let ended = Instant::now();
        *broken.faults.entry(name.clone()).or_default() += 1;
        let patience = if plan.without.is_some() { check::QUIET_WITHOUT } else { RECOVERY + fault.backlog() };
        if tokio::time::timeout(patience, until_working(world)).await.is_err() {
            broken.violations.push(format!("{patience:?} after {name} no order was settled"));
        }
        let took = ended.elapsed().as_secs_f64();
        let worst = broken.recovery.entry(name.clone()).or_default();
        *worst = worst.max(took);
        let at = began.elapsed().as_secs_f64();
        let (lasted, target) = (fault.lasts.as_secs_f64(), fault.target(world));
        println!("{at:7.1} s  {name:<24} lasted {lasted:4.1} s, recovered in {took:4.1} s  {target}");
    }
    tokio::time::sleep_until(schedule.end()).await;
    broken
}

/// Waits until an order placed now is settled.
async fn until_working(world: &World) {
    let key = orderflow_tests::key();
    let body = orderflow_tests::body("MUG-SAND", 1, orderflow_tests::VISA).to_string().into_bytes();
    let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
    let order = loop {
        let web = &world.webs[0];
        match web.try_send(reqwest::Method::POST, "/orders", &headers, Some(body.clone())).await {
            Ok(answer) if answer.status == reqwest::StatusCode::ACCEPTED => break answer.accepted(),
            _ => sleep(Duration::from_millis(50)).await,
        }
    };
    let (path, token) = (format!("/orders/{}", order.id), format!("Bearer {}", order.token));
    loop {
        let answer = world.webs[1].try_send(reqwest::Method::GET, &path, &[("authorization", &token)], None).await;
        let status = answer.ok().and_then(|answer| Some(answer.body["status"].as_str()?.to_owned()));
        if status.is_some_and(|status| customers::rank(&status) == customers::SETTLED) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
