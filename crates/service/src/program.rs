//! The `main` of a program that runs services: `orderflow-worker`, or the program of a registered service.

use std::{error::Error, process::ExitCode};

use crate::{
    Roster,
    config::{DatabaseConfig, Source},
    process::{self, RunError, Settings},
    process_identity,
    store::migrations,
    telemetry,
};

/// The exit status for wrong use or invalid settings.
const USAGE: u8 = 2;

/// The exit status if something cannot be reached.
const UNREACHABLE: u8 = 3;

/// Reads the settings from the environment and consumes the queues that match these names or patterns until SIGTERM or
/// Ctrl-C; without a pattern, all queues of the roster. Returns 0; 1 if the process cannot start; 2 if a setting or a
/// pattern is invalid, or the queues belong to several services but not to all.
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

/// Migrates the tables of the roster's services, for a program whose services are registered with an installation. The
/// installation migrates the shared tables itself. Returns 0; 2 if a setting is invalid; 3 if the migration fails.
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

/// Reports an invalid use or setting, one line per problem, and returns the exit status.
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
