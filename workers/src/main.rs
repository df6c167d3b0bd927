//! `orderflow-worker`: reads the command line and the settings, and runs.

use std::process::ExitCode;

use clap::Parser;
use orderflow_service::{
    config::Source,
    process::{self, RunError, Settings},
    telemetry,
};
use orderflow_worker::roster;

/// Handles the events of orders: one actor for each queue.
///
/// Start as many of these as it takes, with all queues or some: they share the work of a queue. Settings come from the
/// environment; `orderflow config` lists them. SIGTERM or Ctrl-C finishes what has begun and ends.
#[derive(Debug, Parser)]
#[command(name = "orderflow-worker", version)]
struct Arguments {
    /// A queue to handle, by name or pattern: payment.order-created, or 'payment.*'. May be repeated; without it all
    /// queues are handled.
    #[arg(long = "queue", value_name = "NAME-OR-GLOB")]
    queues: Vec<String>,
}

/// Wrong use or settings.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let queues = match roster().select(&arguments.queues) {
        Ok(queues) => queues,
        Err(error) => return wrong(&error),
    };
    let settings = match Settings::read(&Source::from_env(), roster(), queues) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    telemetry::init(&settings.log);
    match process::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (RunError::Io(_) | RunError::Check(_))) => {
            tracing::error!(error = telemetry::chain(&error), "the worker could not start");
            ExitCode::FAILURE
        }
        Err(error) => wrong(&error),
    }
}

/// Says what is wrong, a line each, and that the caller has to change something.
#[allow(clippy::print_stderr, reason = "logging is not set up when settings are wrong")]
fn wrong(error: &dyn std::error::Error) -> ExitCode {
    for line in telemetry::chain(error).lines() {
        eprintln!("orderflow-worker: {line}");
    }
    ExitCode::from(USAGE)
}
