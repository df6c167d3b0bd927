//! The `main` of a program that works for services: `orderflow-worker`, and that of a service elsewhere.

use std::{error::Error, process::ExitCode};

use crate::{
    Roster,
    config::{DatabaseConfig, Source},
    process::{self, RunError, Settings},
    process_identity,
    store::migrations,
    telemetry,
};

/// Wrong use or settings.
const USAGE: u8 = 2;

/// Something cannot be reached.
const UNREACHABLE: u8 = 3;

/// Reads the settings from the environment and consumes these queues, by name or pattern, until SIGTERM or Ctrl-C;
/// without a pattern all of the roster's. Returns 0, 1 where the process could not start, 2 where a setting or a
/// pattern is wrong, or the queues are of some services but not of all.
#[must_use]
pub fn work(program: &str, roster: &Roster, queues: &[String]) -> ExitCode {
    process_identity::set_program(program);
    let queues = match roster.select_for_process(queues) {
        Ok(queues) => queues,
        Err(error) => return wrong(program, &error),
    };
    let settings = match Settings::read(&Source::from_env(), roster, queues) {
        Ok(settings) => settings,
        Err(error) => return wrong(program, &error),
    };
    telemetry::init(&settings.log);
    match process::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (RunError::Io(_) | RunError::Check(_))) => {
            tracing::error!(error = telemetry::chain(&error), "the worker could not start");
            ExitCode::FAILURE
        }
        Err(error) => wrong(program, &error),
    }
}

/// Brings the tables of the roster's services up to date, for a program with services that are registered at a shop;
/// the shared tables are the shop's. Returns 0, 2 where a setting is wrong, 3 where it could not be done.
#[must_use]
pub fn migrate(program: &str, roster: &Roster) -> ExitCode {
    let source = Source::from_env();
    let config = match source.finish(DatabaseConfig::read(&source)) {
        Ok(config) => config,
        Err(error) => return wrong(program, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(program, &error, UNREACHABLE),
    };
    match runtime.block_on(migrations::run_services(&config, &roster.migrations())) {
        Ok(done) => {
            done.iter().for_each(|migration| say(&format!("{program}: migrated {migration}")));
            ExitCode::SUCCESS
        }
        Err(error) => failed(program, &error, UNREACHABLE),
    }
}

/// Says what is wrong, a line each, and that the caller has to change something.
fn wrong(program: &str, error: &dyn Error) -> ExitCode {
    failed(program, error, USAGE)
}

fn failed(program: &str, error: &dyn Error, status: u8) -> ExitCode {
    telemetry::chain(error).lines().for_each(|line| say(&format!("{program}: {line}")));
    ExitCode::from(status)
}

#[allow(clippy::print_stderr, reason = "logging is not set up when settings are wrong")]
fn say(line: &str) {
    eprintln!("{line}");
}
