//! Measures a whole shop on real servers, as ratios to what those servers can do and to the same flow in other
//! frameworks.

mod accept;
mod ceiling;
mod compare;
mod cpu;
mod figures;
mod growth;
mod latency;
mod live;
mod load;
mod observe;
mod peers;
mod plots;
mod soak;
mod suite;

use clap::{Parser, Subcommand};

/// Measures throughput, latency and memory of a whole shop, and writes `summary.json`.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    suite: suite::Arguments,
}

/// Other measurements.
#[derive(Debug, Subcommand)]
enum Other {
    /// Compares variants of a setting, measured in turn
    Compare(compare::Arguments),
    /// Compares the cost of an order in a small database and in a large one
    Growth(growth::Arguments),
    /// Measures how soon accepted orders ship, at one rate
    Latency(latency::Arguments),
    /// Measures how soon watchers of orders are notified, and how much watching costs
    Live(live::Arguments),
    /// Places orders at a steady rate for an hour and reports latency, memory, dead rows and disk use per minute
    Soak(soak::Arguments),
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Cli::parse();
    match arguments.other {
        None => suite::run(arguments.suite).await,
        Some(Other::Compare(arguments)) => compare::run(arguments).await,
        Some(Other::Growth(arguments)) => growth::run(arguments).await,
        Some(Other::Latency(arguments)) => latency::run(arguments).await,
        Some(Other::Live(arguments)) => live::run(arguments).await,
        Some(Other::Soak(arguments)) => soak::run(arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
