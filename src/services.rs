//! The services of this shop, as far as this process knows: those that it is built with, and those that run outside these
//! programs, which `orderflow service register` writes down.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use orderflow_service::{
    Roster,
    config::{DatabaseConfig, Source},
    metrics, periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError, registered, registered::RegisteredService},
    telemetry,
};
use tokio_util::sync::CancellationToken;

/// How soon a front end knows of a service that was registered.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was read last, and the roster with it.
static READ: RwLock<Option<(Vec<RegisteredService>, &'static Roster)>> = RwLock::new(None);

/// Returns the services that this process is built with, then those that were registered when it last looked. Within one
/// statement it is the same roster; a later call may return another one.
#[must_use]
pub fn roster() -> &'static Roster {
    let read = READ.read().unwrap_or_else(PoisonError::into_inner);
    read.as_ref().map_or_else(|| orderflow_worker::roster(), |(_, roster)| roster)
}

/// Reads which services are registered. Where that has not changed, nothing is kept; each change keeps a few kilobytes for the
/// life of the process.
///
/// # Errors
/// Those of the database; the roster stays as it was.
pub async fn refresh(database: &Database) -> Result<(), StoreError> {
    let rows =
        database.run(ANSWER_WITHIN, async |connection: &mut Connection| registered::list(connection).await).await?;
    let mut read = READ.write().unwrap_or_else(PoisonError::into_inner);
    let known = read.as_ref().map_or(&[][..], |(known, _)| known);
    if known != rows {
        let roster: &'static Roster = Box::leak(Box::new(orderflow_worker::roster().with(&rows)));
        *read = Some((rows, roster));
    }
    Ok(())
}

/// Reads them once, for a command. Returns what to tell the person where they could not be read: the command then knows only the
/// services that it is built with.
pub async fn load() -> Option<String> {
    let unknown = |why: &str| Some(format!("services that run outside these programs are left out: {why}"));
    // The command reads the same settings, and says what is wrong with them.
    let Some(config) = DatabaseConfig::read(&Source::from_env()) else {
        return unknown("DATABASE_URL is missing or wrong");
    };
    let database = match Database::new(&config, "orderflow", 1) {
        Ok(database) => database,
        Err(error) => return unknown(&telemetry::chain(&error)),
    };
    match refresh(&database).await {
        Ok(()) => None,
        // Before `orderflow migrate` nothing can have been registered.
        Err(error) if error.lacks_tables() => None,
        Err(error) => unknown(&telemetry::chain(&error)),
    }
}

/// Reads them again and again until `stop`, for a front end.
pub async fn keep_reading(database: Database, stop: CancellationToken) {
    let mut failing = false;
    loop {
        match refresh(&database).await {
            Ok(()) => {
                failing = false;
                let names = roster().services().map(|service| service.name);
                metrics::get().services.registered(names.filter(|name| !orderflow_worker::roster().has(name)));
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "which services are registered cannot be read; trying again"
                    );
                }
                failing = true;
            }
        }
        if !periodic::pause(INTERVAL, &stop).await {
            return;
        }
    }
}
