//! A run: customers come, things break and are mended, and in the end everything is checked.

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

/// How long after a fault the next order may take until it is settled: beyond it the fault was not recovered from.
const RECOVERY: Duration = Duration::from_secs(90);

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything that is drawn is drawn from it.
    pub seed: u64,
    /// How long customers come and things break.
    pub lasts: Duration,
    /// What breaks.
    pub kinds: Vec<Kind>,
    /// How long an absence lasts.
    pub away: Duration,
    /// Customers a second.
    pub per_second: u32,
    /// The safeguard that is left out.
    pub without: Option<Safeguard>,
    /// Where what breaks is struck.
    pub focus: Focus,
    /// How many customers of a hundred want the scarce product, and how many pieces there are.
    pub scarce: (u8, u32),
    /// Whether the services in examples/ run too.
    pub examples: bool,
    /// Where the logs go, if somebody wants them.
    pub logs: Option<PathBuf>,
}

/// What a run was of: whatever else it has to be known by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The commit that the programs were built from, if somebody said it.
    pub commit: Option<String>,
    /// RabbitMQ's version.
    pub rabbitmq: String,
    /// How many nodes of it.
    pub nodes: usize,
    /// Whether the services in examples/ ran too.
    #[serde(default)]
    pub examples: bool,
    /// PostgreSQL's version; results from before it was written have none.
    #[serde(default)]
    pub postgres: String,
}

/// What came of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Of what.
    #[serde(flatten)]
    pub made: Made,
    /// Of the plan.
    pub seed: u64,
    /// Of the plan.
    pub without: Option<String>,
    /// Orders that were accepted.
    pub orders: usize,
    /// Orders in the end, by status.
    pub statuses: BTreeMap<String, usize>,
    /// Requests whose outcome no customer knows.
    pub unknown: usize,
    /// Answers that customers got, by question.
    pub answers: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// How long an absence lasted; results from before there were any have none.
    #[serde(default)]
    pub away_seconds: Option<f64>,
    /// The longest recovery after each kind, in seconds: until an order that was placed then is settled.
    pub recovery_seconds: BTreeMap<String, f64>,
    /// Processes of ours that died at a crash point.
    pub crashes: u32,
    /// What came twice and did nothing the second time, by who recognised it.
    pub absorbed: BTreeMap<String, usize>,
    /// Orders that an operator had to replay, because an outage had used up their attempts.
    pub replayed: usize,
    /// How long the run took, in seconds, all in all.
    pub seconds: f64,
    /// What must not be, a sentence each.
    pub violations: Vec<String>,
}

/// Runs a plan on these servers.
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

/// One fault after the other until the time is over, each followed by an order that shows when the shop works again.
async fn break_things(own: &mut Own, world: &mut World, plan: &Plan, began: Instant) -> Broken {
    let mut broken = Broken::default();
    tokio::time::timeout(RECOVERY, until_working(world)).await.expect("a shop that nothing was done to works");
    let mut schedule = Schedule::new(plan, Instant::now());
    while let Some(fault) = schedule.draw(Instant::now()) {
        sleep(fault.before).await;
        let aftermath = fault.happen(own, world).await;
        broken.garbage += aftermath.garbage;
        broken.violations.extend(aftermath.violations);
        world.wake().await;
        let name = fault.name();
        let mended = Instant::now();
        *broken.faults.entry(name.clone()).or_default() += 1;
        let patience = if plan.without.is_some() { check::QUIET_WITHOUT } else { RECOVERY + fault.backlog() };
        if tokio::time::timeout(patience, until_working(world)).await.is_err() {
            broken.violations.push(format!("{patience:?} after {name} no order was settled"));
        }
        let took = mended.elapsed().as_secs_f64();
        let worst = broken.recovery.entry(name.clone()).or_default();
        *worst = worst.max(took);
        let at = began.elapsed().as_secs_f64();
        let (lasted, target) = (fault.lasts.as_secs_f64(), fault.target(world));
        println!("{at:7.1} s  {name:<24} lasted {lasted:4.1} s, recovered in {took:4.1} s  {target}");
    }
    tokio::time::sleep_until(schedule.end()).await;
    broken
}

/// Waits until an order that is placed now is settled.
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
