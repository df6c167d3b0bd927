//! `orderflow-worker`: reads the command line and runs the worker.

use std::process::ExitCode;

use clap::Parser as _;
use orderflow_service::program;
use orderflow_worker::{cli::Arguments, roster};

fn main() -> ExitCode {
    program::work("orderflow-worker", roster(), &Arguments::parse().queues)
}
