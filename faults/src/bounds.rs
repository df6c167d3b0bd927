//! The cost of a long outage: orders wait until the front ends refuse more, and then all must be processed, within each
//! process's memory limit and without a restart.

use std::{path::PathBuf, time::Duration};

use futures::StreamExt as _;
use orderflow_tests::{
    Answer, Web, key,
    own::{Own, Wanted},
};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    check,
    component::Component,
    customers::{Behaviour, Known, Seen, Story},
    ledger::Ledger,
    world::{Setup, World},
};

/// The memory limit of each process, in MiB.
const MEMORY: u64 = 150;

/// Concurrent customers.
const AT_ONCE: usize = 64;

/// How long each phase may take per thousand orders, in addition to a minute. It takes far less.
const PATIENCE_PER_THOUSAND: Duration = Duration::from_secs(30);

/// How long orders may still be accepted beyond the limit: each front end checks it once a second, and a busy machine
/// may be late.
const BEYOND: Duration = Duration::from_secs(3);

/// The options of `bounds`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Number of waiting orders beyond which the front ends refuse more
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..))]
    orders: u32,
    /// A directory in which to keep the processes' logs; without it they are kept only after violations
    #[arg(long, value_name = "DIRECTORY")]
    logs: Option<PathBuf>,
    /// A file for the results, in JSON
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
}

/// The results.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Orders accepted while the broker was unreachable.
    pub accepted: usize,
    /// Seconds that this took.
    pub accepting_seconds: f64,
    /// Seconds until the broker had all of them.
    pub publishing_seconds: f64,
    /// Seconds that the workers, reconnected last, needed to process all of them.
    pub draining_seconds: f64,
    /// The peak memory of each process, in MiB.
    pub peak_memory: Vec<(String, u64)>,
    /// Violations, a sentence each.
    pub violations: Vec<String>,
}

/// Runs it on its own servers.
pub async fn run(options: &Options) -> Outcome {
    let own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let setup = Setup { admission: Some(options.orders), scarce: 30, ..Setup::default() };
    let mut world = World::open(&own, setup, options.logs.as_deref()).await;
    until_ready(&world).await;
    let patience = Duration::from_secs(60) + PATIENCE_PER_THOUSAND * options.orders.div_ceil(1_000);
    world.operate(&["stock", "set", "MUG-BLUE", &(options.orders * 2).to_string()]).await;

    for wire in world.broker_wires(|_| true) {
        wire.proxy.cut().await;
    }
    let began = Instant::now();
    let (seen, mut violations) = accept(&world, options.orders).await;
    let accepting_seconds = began.elapsed().as_secs_f64();
    println!("{} orders were accepted in {accepting_seconds:.0} s, and no more are", seen.stories.len());

    for wire in world.broker_wires(Component::is_front_end) {
        wire.proxy.mend().await;
    }
    let began = Instant::now();
    violations.extend(until_published(&world, patience).await.err());
    let publishing_seconds = began.elapsed().as_secs_f64();
    println!("all events were published in {publishing_seconds:.0} s");

    for wire in world.broker_wires(Component::is_service) {
        wire.proxy.mend().await;
    }
    let began = Instant::now();
    violations.extend(check::until_quiet(&world, patience).await.err());
    let draining_seconds = began.elapsed().as_secs_f64();
    println!("all orders were processed in {draining_seconds:.0} s");

    let mut peak_memory = Vec::new();
    for program in world.programs.drain(..) {
        let (name, memory) = (program.name().to_owned(), program.peak_memory().await);
        if memory.is_none_or(|memory| memory >= MEMORY) {
            violations.push(format!("{name} used {memory:?} MiB; the limit is {MEMORY}"));
        }
        if program.starts() != 1 {
            violations.push(format!("{name} was started {} times", program.starts()));
        }
        println!("{name} used {} MiB at most", memory.unwrap_or_default());
        peak_memory.push((name, memory.unwrap_or_default()));
        violations.extend(program.stop().await.err());
    }
    violations.extend(check::all(&world, &seen, 0).await.violations);
    if !violations.is_empty() {
        world.keep_logs();
        println!("the logs are in {}", world.logs().display());
    }
    let accepted = seen.stories.len();
    Outcome { accepted, accepting_seconds, publishing_seconds, draining_seconds, peak_memory, violations }
}

async fn until_ready(world: &World) {
    let ready = async {
        for web in &world.webs {
            let is_ready = async || {
                let answer = web.try_send(Method::GET, "/readyz", &[], None).await;
                answer.is_ok_and(|answer| answer.status.is_success())
            };
            while !is_ready().await {
                sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ready).await.expect("the front ends start");
}

/// Places orders until each front end refuses more, and checks the refusals.
async fn accept(world: &World, limit: u32) -> (Seen, Vec<String>) {
    let (mut seen, mut violations, mut refused) = (Seen::default(), Vec::new(), 0_usize);
    let began = Instant::now();
    let mut answers = futures::stream::iter(0..limit * 2)
        .map(|number| place(&world.webs[number as usize % world.webs.len()]))
        .buffer_unordered(AT_ONCE);
    while let Some((behaviour, answer)) = answers.next().await {
        match answer {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                seen.stories.push(Story { behaviour, known: Known::Accepted(answer.accepted()), last_status: None });
            }
            Ok(answer) if is_honest(&answer) => refused += 1,
            other => violations.push(format!("an order was answered {other:?} while the broker was unreachable")),
        }
        if refused > AT_ONCE * 2 {
            break;
        }
    }
    if refused == 0 {
        violations.push(format!("{} orders wait, and none was refused", seen.stories.len()));
    }
    let beyond = BEYOND.as_secs_f64() / began.elapsed().as_secs_f64();
    if seen.stories.len() as f64 * (1.0 - beyond) > f64::from(limit) {
        violations.push(format!("{} orders were accepted, far more than {limit}", seen.stories.len()));
    }
    if seen.stories.len() < limit as usize * 9 / 10 {
        violations.push(format!("only {} orders were accepted", seen.stories.len()));
    }
    (seen, violations)
}

async fn place(web: &Web) -> (Behaviour, reqwest::Result<Answer>) {
    let behaviour = Behaviour::plain(key());
    let headers = [("idempotency-key", behaviour.key.as_str()), ("content-type", "application/json")];
    let answer = web.try_send(Method::POST, "/orders", &headers, Some(behaviour.body())).await;
    (behaviour, answer)
}

/// Returns whether the answer is a 503 that says when to retry.
fn is_honest(answer: &Answer) -> bool {
    let seconds = answer.headers.get("retry-after").and_then(|value| value.parse::<u32>().ok());
    answer.status == StatusCode::SERVICE_UNAVAILABLE && seconds.is_some() && answer.body["detail"].is_string()
}

async fn until_published(world: &World, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    let mut ledger = Ledger::open(&world.shop).await;
    loop {
        match ledger.count("SELECT count(*) FROM messaging.outbox").await {
            0 => return Ok(()),
            left if Instant::now() > deadline => {
                return Err(format!("{left} events are not published after {within:?}"));
            }
            _ => sleep(Duration::from_millis(500)).await,
        }
    }
}
