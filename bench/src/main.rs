//! Measurements of a whole shop on real servers, as ratios to what the servers can do and to other programs.

mod accept;
mod ceiling;
mod compare;
mod cpu;
mod figures;
mod latency;
mod live;
mod observe;
mod peers;
mod suite;

use clap::{Parser, Subcommand};

/// Measures throughput, latency and memory of a whole shop, and writes `summary.json`.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    suite: suite::Arguments,
}

/// Other measurements.
#[derive(Debug, Subcommand)]
enum Other {
    /// Compares variants of a setting with each other, in turn
    Compare(compare::Arguments),
    /// Measures how soon accepted orders are shipped, at one rate
    Latency(latency::Arguments),
    /// Measures how soon watchers of orders are notified, and what watching costs
    Live(live::Arguments),
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    match arguments.other {
        None => suite::run(arguments.suite).await,
        Some(Other::Compare(arguments)) => compare::run(arguments).await,
        Some(Other::Latency(arguments)) => latency::run(arguments).await,
        Some(Other::Live(arguments)) => live::run(arguments).await,
    }
}
