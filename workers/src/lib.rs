//! The workers: for each queue one actix actor that runs a [`handler::Handler`].
//!
//! [`run`] is the whole process; `main.rs` only reads the command line and the settings.

mod acting;
mod actor;
mod breaker;
mod consumers;
mod failure;
mod failure_log;
pub mod handler;
mod head;
mod health;
mod isolation;
mod line;
mod pace;
mod persist;
mod prepare;
mod process;
mod provider_error;
pub mod providers;
mod reconciler;
mod record;
pub mod registry;
mod selection;
pub mod services;
mod settings;
mod settle;
mod shell;

pub use process::RunError;
pub use registry::Registry;
pub use settings::Settings;

use process::{ProcessConfig, Work};
use registry::Services;

/// Runs a worker process until SIGTERM or Ctrl-C.
///
/// # Errors
/// See [`RunError`].
pub fn run(registry: Registry, settings: Settings) -> Result<(), RunError> {
    let config = ProcessConfig {
        trace: settings.trace.clone(),
        database: settings.database.clone(),
        broker: settings.broker.clone(),
        worker: settings.worker.clone(),
    };
    let queues: Vec<_> = registry.entries.iter().map(|(subscription, _)| *subscription).collect();
    process::run(&config, &queues, |database| {
        let services = Services::new(&settings, database)?;
        let consumers = registry.entries.into_iter().map(|(_, make)| make(&services)).collect();
        Ok(Work { consumers, lines: services.providers.lines() })
    })
}
