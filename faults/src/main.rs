//! `orderflow-faults`: breaks everything that an order depends on, and checks that nothing is lost and nothing done twice.

mod provider;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Serves a payment provider that speaks as much of Stripe's API as Orderflow uses, and keeps a ledger
    Provider(provider::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Provider(options) => provider::run(&options),
    }
}
