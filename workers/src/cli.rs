//! The command line of `orderflow-worker`. `make generate` writes docs/COMMANDS.md from it.

use clap::Parser;
use orderflow_service::version::DESCRIPTION;

/// Handles the events of orders: one actor per queue.
///
/// Run as many of these as you need, for all queues or some: they share each queue's work. Settings come from the
/// environment; `orderflow config` lists them. SIGTERM or Ctrl-C finishes the work in progress and stops the process.
///
/// Exit status: 0 stopped by a signal; 1 the process cannot start; 2 invalid use or settings, or the database or
/// RabbitMQ is not set up.
#[derive(Debug, Parser)]
#[command(name = "orderflow-worker", version = DESCRIPTION)]
pub struct Arguments {
    /// A queue to consume, by name or pattern: payment.order-created, or 'payment.*'. May be repeated; without it, all
    /// queues are consumed.
    #[arg(long = "queue", value_name = "NAME-OR-GLOB")]
    pub queues: Vec<String>,
}
