//! `orderflow-faults`: breaks everything that an order depends on, and checks that nothing is lost or done twice.

mod bounds;
mod breakage;
mod campaign;
mod check;
mod component;
mod credentials;
mod customers;
mod examples;
mod journal;
mod ledger;
mod mail;
mod mutation;
mod program;
mod provider;
mod stand_in;
mod table;
mod world;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum as _};
use orderflow_service::{config::setting::duration, fault::Safeguard};
use orderflow_tests::own::{self, Installed, Own, Wanted};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    breakage::{Focus, Kind, length_of_absence},
    campaign::{Made, Outcome, Plan},
};

/// Runs Orderflow on its own servers, breaks them on a seeded schedule, and checks that nothing is lost or done twice.
#[derive(Debug, Parser)]
#[command(name = "orderflow-faults", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs customers and faults, then checks everything; the last line is `violations: N`
    Run(RunOptions),
    /// Lets orders wait until the front ends refuse more, then has all processed; checks the memory used
    Bounds(bounds::Options),
    /// Prints the results of several runs as tables
    Table(table::Options),
    /// Runs a mail server that keeps a ledger
    Mail(stand_in::Options),
    /// Runs a payment provider with the part of Stripe's API that Orderflow uses, and keeps a ledger
    Provider(stand_in::Options),
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    /// Seeds faults, customers and their orders: the same number repeats the run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long customers order and things break, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The faults, separated by commas; without it all, or those that reveal the safeguard left out
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// How long only-worker-away and only-front-end-away last, such as 20m. One of each must fit into the run. Without
    /// it: 20 minutes if nothing else breaks, otherwise a minute, or a quarter of a run below four minutes
    #[arg(long, value_name = "TIME", value_parser = duration)]
    away: Option<Duration>,
    /// Customers a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// A safeguard to leave out, to verify that the checker notices, or `nothing`; repeatable: one run for each
    #[arg(long, value_name = "NAME", value_parser = safeguard, default_value = "nothing")]
    without: Vec<Without>,
    /// The commit that this was built from, for the results
    #[arg(long)]
    commit: Option<String>,
    /// Runs the services in examples/ too
    #[arg(long)]
    examples: bool,
    /// Number of RabbitMQ nodes; several form a cluster
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// A directory with a Debian whose RabbitMQ replaces this machine's, as scripts/debian.sh makes it
    #[arg(long, value_name = "DIRECTORY")]
    rabbitmq: Option<PathBuf>,
    /// The same for PostgreSQL
    #[arg(long, value_name = "DIRECTORY")]
    postgres: Option<PathBuf>,
    /// A directory in which to keep the processes' logs; without it they are kept only after violations
    #[arg(long, value_name = "DIRECTORY")]
    logs: Option<PathBuf>,
    /// A file for the results, in JSON
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

/// A safeguard, or none.
#[derive(Debug, Clone, Copy)]
struct Without(Option<Safeguard>);

fn safeguard(name: &str) -> Result<Without, String> {
    if name == "nothing" {
        return Ok(Without(None));
    }
    let names = || Safeguard::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
    let found = Safeguard::ALL.iter().copied().find(|one| one.as_str() == name);
    found.map(|one| Without(Some(one))).ok_or_else(|| format!("unknown safeguard; expected one of: {}", names()))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(options) => until_told(run(&options)),
        Command::Bounds(options) => until_told(bounds(&options)),
        Command::Table(options) => table::run(&options),
        Command::Mail(options) => stand_in::run("mail server", &options, mail::run),
        Command::Provider(options) => stand_in::run("provider", &options, provider::run),
    }
}

/// Runs the work in a private mount namespace until it ends or a signal arrives. Dropping it kills the servers.
fn until_told(work: impl Future<Output = ExitCode>) -> ExitCode {
    orderflow_service::tls::install();
    if own::can_mount()
        && let Err(error) = own::enter_own_mounts()
    {
        eprintln!("orderflow-faults: cannot create a private mount namespace: {error}");
        return ExitCode::from(3);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a signal can be waited for");
        tokio::select! {
            code = work => code,
            _ = terminate.recv() => ExitCode::from(143),
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

async fn bounds(options: &bounds::Options) -> ExitCode {
    let outcome = bounds::run(options).await;
    for violation in &outcome.violations {
        println!("  VIOLATION {violation}");
    }
    ended(options.results.as_deref(), &outcome, outcome.violations.len())
}

/// Writes the results and prints the last line.
fn ended(results: Option<&Path>, outcome: &impl serde::Serialize, violations: usize) -> ExitCode {
    if let Some(file) = results {
        let text = serde_json::to_string_pretty(outcome).expect("outcomes are JSON");
        std::fs::write(file, text + "\n").expect("the results can be written");
    }
    println!("violations: {violations}");
    ExitCode::from(u8::from(violations > 0))
}

async fn run(options: &RunOptions) -> ExitCode {
    let Some(kinds) = kinds(&options.faults) else { return ExitCode::from(2) };
    let lasts = Duration::from_secs(options.seconds);
    let away = match length_of_absence(options.away, &kinds, lasts) {
        Ok(away) => away,
        Err(why) => {
            eprintln!("orderflow-faults: {why}");
            return ExitCode::from(2);
        }
    };
    let common = Plan {
        seed: options.seed,
        lasts,
        kinds,
        away,
        per_second: options.rate,
        without: None,
        focus: Focus::default(),
        scarce: (8, 30),
        examples: options.examples,
        logs: options.logs.clone(),
    };
    let installed = |debian: &Option<PathBuf>| debian.clone().map_or(Installed::Here, Installed::Below);
    let wanted = Wanted {
        rabbitmq: installed(&options.rabbitmq),
        postgres: installed(&options.postgres),
        nodes: options.nodes.into(),
        small_disks: common.kinds.iter().any(|kind| matches!(kind, Kind::DatabaseDiskFull | Kind::BrokerDiskFull)),
    };
    let mut own = Own::start(&wanted).await;
    let rabbitmq = own.rabbitmq.first().version().await;
    let postgres = own.postgres.version().await;
    let made =
        Made { commit: options.commit.clone(), rabbitmq, nodes: wanted.nodes, examples: options.examples, postgres };
    println!("RabbitMQ {}, {} node(s); PostgreSQL {}", made.rabbitmq, made.nodes, made.postgres);
    let mut outcomes = Vec::new();
    for Without(without) in options.without.iter().copied() {
        let plan = match without {
            None => common.clone(),
            Some(safeguard) if options.faults.is_empty() => mutation::against(safeguard, &common),
            Some(_) => Plan { without, ..common.clone() },
        };
        println!("seed {}{}", plan.seed, without.map_or(String::new(), |one| format!(", without {}", one.as_str())));
        let (outcome, logs) = campaign::run(&mut own, &plan, &made).await;
        report(&outcome);
        if let Some(logs) = logs {
            println!("the logs are in {}", logs.display());
        }
        outcomes.push(outcome);
    }
    let violations = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    ended(options.results.as_deref(), &outcomes, violations)
}

/// Returns the requested faults, or all faults possible on this machine. `None` if a requested one is impossible.
fn kinds(asked: &[Kind]) -> Option<Vec<Kind>> {
    let mut kinds = if asked.is_empty() { Kind::value_variants().to_vec() } else { asked.to_vec() };
    let name = |kind: &Kind| kind.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let missing: Vec<_> = kinds.iter().filter_map(|kind| Some((*kind, kind.is_missing()?))).collect();
    for (kind, why) in &missing {
        eprintln!("orderflow-faults: skipping {}: {why}", name(kind));
    }
    kinds.retain(|kind| kind.is_missing().is_none());
    (asked.is_empty() || missing.is_empty()).then_some(kinds)
}

fn report(outcome: &Outcome) {
    let faults: u32 = outcome.faults.values().sum();
    println!(
        "{} orders ({} unknown), {faults} faults, {} crashes, {} replayed, {:.0} s: {:?}",
        outcome.orders, outcome.unknown, outcome.crashes, outcome.replayed, outcome.seconds, outcome.statuses
    );
    println!("absorbed: {:?}", outcome.absorbed);
    for (kind, count) in &outcome.faults {
        let worst = outcome.recovery_seconds.get(kind).copied().unwrap_or_default();
        println!("  {count:4} {kind:<24} worst recovery {worst:5.1} s");
    }
    for violation in outcome.violations.iter().take(20) {
        println!("  VIOLATION {violation}");
    }
    if outcome.violations.len() > 20 {
        println!("  … and {} more", outcome.violations.len() - 20);
    }
}
