//! `orderflow-faults`: breaks everything that an order depends on, and checks that nothing is lost and nothing done twice.

mod breakage;
mod campaign;
mod check;
mod customers;
mod ledger;
mod mutation;
mod program;
mod provider;
mod servers;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum as _};
use orderflow::fault::Safeguard;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    breakage::{Focus, Kind},
    campaign::{Outcome, Plan},
    servers::Own,
};

/// Runs Orderflow on servers of its own, breaks them on a seeded schedule, and checks that nothing is lost and nothing is
/// done twice.
#[derive(Debug, Parser)]
#[command(name = "orderflow-faults", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs customers and faults, and checks everything in the end; the last line is `violations: N`
    Run(RunOptions),
    /// Serves a payment provider that speaks as much of Stripe's API as Orderflow uses, and keeps a ledger
    Provider(provider::Options),
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    /// What faults, customers and their wishes are drawn from: the same number, the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long customers come and things break, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What breaks, separated by commas; without it everything, or what shows that a safeguard is missing
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Customers a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// A safeguard to leave out, to see that the checker finds out, or `nothing`; may be repeated: a run for each
    #[arg(long, value_name = "NAME", value_parser = safeguard, default_value = "nothing")]
    without: Vec<Without>,
    /// A directory for the processes' logs, kept; without it they are kept where something was wrong
    #[arg(long, value_name = "DIRECTORY")]
    logs: Option<PathBuf>,
    /// A file for what came of it, in JSON
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
    found.map(|one| Without(Some(one))).ok_or_else(|| format!("there is no such safeguard; there are: {}", names()))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(options) => {
            orderflow::tls::install();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                // Servers are killed when they are dropped, and so they are when somebody ends us.
                let mut told = signal(SignalKind::terminate()).expect("a signal can be waited for");
                tokio::select! {
                    code = run(&options) => code,
                    _ = told.recv() => ExitCode::from(143),
                    _ = tokio::signal::ctrl_c() => ExitCode::from(130),
                }
            })
        }
        Command::Provider(options) => provider::run(&options),
    }
}

async fn run(options: &RunOptions) -> ExitCode {
    let all = || Kind::value_variants().to_vec();
    let common = Plan {
        seed: options.seed,
        lasts: Duration::from_secs(options.seconds),
        kinds: if options.faults.is_empty() { all() } else { options.faults.clone() },
        per_second: options.rate,
        without: None,
        focus: Focus::default(),
        scarce: (8, 30),
        logs: options.logs.clone(),
    };
    let mut own = Own::start().await;
    let mut outcomes = Vec::new();
    for Without(without) in options.without.iter().copied() {
        let plan = match without {
            None => common.clone(),
            Some(safeguard) if options.faults.is_empty() => mutation::against(safeguard, &common),
            Some(_) => Plan { without, ..common.clone() },
        };
        println!("seed {}{}", plan.seed, without.map_or(String::new(), |one| format!(", without {}", one.as_str())));
        let (outcome, logs) = campaign::run(&mut own, &plan).await;
        report(&outcome);
        if let Some(logs) = logs {
            println!("the logs are in {}", logs.display());
        }
        outcomes.push(outcome);
    }
    if let Some(file) = &options.results {
        let text = serde_json::to_string_pretty(&outcomes).expect("outcomes are JSON");
        std::fs::write(file, text + "\n").expect("the results can be written");
    }
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    println!("violations: {violations}");
    ExitCode::from(u8::from(violations > 0))
}

fn report(outcome: &Outcome) {
    let faults: u32 = outcome.faults.values().sum();
    println!(
        "{} orders ({} unknown), {faults} faults, {} crashes, {} replayed, {:.0} s: {:?}",
        outcome.orders, outcome.unknown, outcome.crashes, outcome.replayed, outcome.seconds, outcome.statuses
    );
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
