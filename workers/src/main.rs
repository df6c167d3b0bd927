//! `orderflow-worker`: reads the command line, and runs.

use std::process::ExitCode;

use clap::Parser;
use orderflow_service::{program, version::DESCRIPTION};
use orderflow_worker::roster;

/// Handles the events of orders: one actor for each queue.
///
/// Start as many of these as it takes, with all queues or some: they share the work of a queue. Settings come from the
/// environment; `orderflow config` lists them. SIGTERM or Ctrl-C finishes what has begun and ends.
#[derive(Debug, Parser)]
#[command(name = "orderflow-worker", version = DESCRIPTION)]
struct Arguments {
    /// A queue to handle, by name or pattern: payment.order-created, or 'payment.*'. May be repeated; without it all
    /// queues are handled.
    #[arg(long = "queue", value_name = "NAME-OR-GLOB")]
    queues: Vec<String>,
}

fn main() -> ExitCode {
    program::work("orderflow-worker", roster(), &Arguments::parse().queues)
}
