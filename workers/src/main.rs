//! `orderflow-worker`: reads the command line and runs the worker.

use std::process::ExitCode;

use clap::Parser;
use orderflow_service::{program, version::DESCRIPTION};
use orderflow_worker::roster;

/// Handles the events of orders: one actor per queue.
///
/// Run as many of these as you need, for all queues or some: they share each queue's work. Settings come from the
/// environment; `orderflow config` lists them. SIGTERM or Ctrl-C finishes the work in progress and stops the process.
#[derive(Debug, Parser)]
#[command(name = "orderflow-worker", version = DESCRIPTION)]
struct Arguments {
    /// A queue to consume, by name or pattern: payment.order-created, or 'payment.*'. May be repeated; without it, all
    /// queues are consumed.
    #[arg(long = "queue", value_name = "NAME-OR-GLOB")]
    queues: Vec<String>,
}

fn main() -> ExitCode {
    program::work("orderflow-worker", roster(), &Arguments::parse().queues)
}
