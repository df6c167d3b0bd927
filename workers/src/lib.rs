//! The services of a shop, the providers that they call, and the list of which handler takes which subscription.
//!
//! [`run`] is the whole process; `main.rs` only reads the command line and the settings. The pipeline is in
//! `orderflow_service`.

pub mod providers;
pub mod registry;
pub mod services;
mod settings;

use orderflow_service::process::{self, ProcessConfig, RunError, Work};

pub use registry::Registry;
pub use settings::Settings;

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
