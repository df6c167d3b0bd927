//! A payment provider that speaks as much of Stripe's API as Orderflow uses.

use std::process::ExitCode;

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Serves until it is told to end.
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::FAILURE
}
