//! The services of this shop that this process knows: the built-in ones, and those that run outside these programs and
//! were registered with `orderflow service register`.

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

/// How soon a front end learns of a newly registered service.
const INTERVAL: Duration = Duration::from_secs(10);

/// The registered services that were read last, and the roster that includes them.
static READ: RwLock<Option<(Vec<RegisteredService>, &'static Roster)>> = RwLock::new(None);

/// Returns the built-in services, then those that were registered at the last read. Call it once where one consistent
/// roster is needed: a later call may return a different one.
#[must_use]
pub fn roster() -> &'static Roster {
    let read = READ.read().unwrap_or_else(PoisonError::into_inner);
    read.as_ref().map_or_else(|| orderflow_worker::roster(), |(_, roster)| roster)
}

/// Reads which services are registered. An unchanged list allocates nothing permanent; each change leaks a few
/// kilobytes for the life of the process.
///
/// # Errors
/// Returns database errors; the roster stays as it was.
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

/// Reads the registered services once, for a command. Returns a note for the operator if that failed: the command then
/// knows only the built-in services.
pub async fn load() -> Option<String> {
    let unknown = |why: &str| Some(format!("services that run outside these programs are left out: {why}"));
    // The command reads the same settings and reports what is wrong with them.
    let Some(config) = DatabaseConfig::read(&Source::from_env()) else {
        return unknown("DATABASE_URL is missing or invalid");
    };
    let database = match Database::new(&config, "orderflow", 1) {
        Ok(database) => database,
        Err(error) => return unknown(&telemetry::chain(&error)),
    };
    match refresh(&database).await {
        Ok(()) => None,
        // Before `orderflow migrate`, nothing can be registered.
        Err(error) if error.lacks_tables() => None,
        Err(error) => unknown(&telemetry::chain(&error)),
    }
}

/// Reads the registered services periodically until `stop`, for a front end.
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
                        "cannot read which services are registered; trying again"
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
