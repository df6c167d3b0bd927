//! Checks before a process starts work that the database and the broker are reachable and set up.

use tokio_util::sync::CancellationToken;

use crate::{
    Backoff,
    broker::{BrokerCheck, NotReady, names},
    config::RetryDelays,
    store::{
        ANSWER_WITHIN, Database, StoreError,
        capacity::Capacity,
        migrations::{self, MigrationSet, Outdated},
        pooler::{self, Pooler},
    },
    telemetry,
};

/// A dependency is reachable but not set up. Waiting would not help.
#[derive(Debug, thiserror::Error)]
pub enum NotSetUp {
    /// Shared tables are missing or outdated.
    #[error("the database is not up to date: run `orderflow migrate`")]
    Database,
    /// Tables of a service are missing or outdated.
    #[error("the tables of {service} are not up to date: run `orderflow migrate`, or `migrate` of its own program")]
    Service {
        /// The service.
        service: &'static str,
    },
    /// A connection pooler in front of PostgreSQL cannot be used.
    #[error(transparent)]
    Pooler(#[from] Pooler),
    /// An exchange or queue is missing.
    #[error("RabbitMQ is not set up: {0}")]
    Broker(NotReady),
    /// RabbitMQ's retry tiers differ from the settings.
    #[error(
        "RETRY_DELAYS is {wanted}, but RabbitMQ has no queue {missing}: give workers the same list as \
         `orderflow topology apply`, or run that again"
    )]
    RetryDelays {
        /// The configured delays.
        wanted: RetryDelays,
        /// The queue that RabbitMQ lacks.
        missing: String,
    },
}

/// Waits until the database answers, and checks that the shared tables and those of these services are up to date, and
/// that no unusable pooler is in between. Logs a warning if PostgreSQL does not allow the `connections` that the
/// process may open. Returns early when `stop` is cancelled.
///
/// # Errors
/// Returns [`NotSetUp::Database`], [`NotSetUp::Service`] and [`NotSetUp::Pooler`].
pub async fn database(
    database: &Database,
    connections: usize,
    services: &[MigrationSet],
    stop: &CancellationToken,
) -> Result<(), NotSetUp> {
    let ask = async || -> Result<Result<(), NotSetUp>, StoreError> {
        if let Some(pooler) = pooler::find_pooler(database).await? {
            return Ok(Err(pooler.into()));
        }
        let look = async |connection: &mut _| migrations::outdated(connection, services).await;
        Ok(match database.run(ANSWER_WITHIN, look).await? {
            None => {
                // Behind a pooler, the pooler's settings limit the connections.
                if !database.is_pooled() {
                    compare_capacity(&database.run(ANSWER_WITHIN, Capacity::own).await?, connections);
                }
                Ok(())
            }
            Some(Outdated::Shared) => Err(NotSetUp::Database),
            Some(Outdated::Service(service)) => Err(NotSetUp::Service { service }),
        })
    };
    let mut backoff = Backoff::default();
    let mut logged = false;
    while !stop.is_cancelled() {
        match ask().await {
            Ok(verdict) => return verdict,
            Err(error) => {
                if let Some(pooler) = Pooler::behind(&error, database.is_pooled()) {
                    return Err(pooler.into());
                }
                if !std::mem::replace(&mut logged, true) {
                    tell_unreachable(&error, connections);
                }
            }
        }
        wait(&mut backoff, stop).await;
    }
    Ok(())
}

fn tell_unreachable(error: &StoreError, wanted: usize) {
    let why = telemetry::chain(error);
    if error.is_too_many_connections() {
        tracing::warn!(
            error = why,
            wanted,
            "PostgreSQL has no connection left for this process; retrying. Raise the CONNECTION LIMIT of the role or database, or \
             max_connections, or lower DATABASE_POOL of the processes that share it"
        );
    } else {
        tracing::warn!(
            error = why,
            "PostgreSQL cannot be reached; retrying. Is it running, and is DATABASE_URL correct?"
        );
    }
}

/// Warns if PostgreSQL allows fewer connections than the process may open. The process works with fewer, only slower.
fn compare_capacity(capacity: &Capacity, wanted: usize) {
    if !capacity.allows(wanted) {
        tracing::warn!(
            wanted,
            allowed = capacity.limit,
            "PostgreSQL allows fewer connections than this process may open ({capacity}): raise that limit, or lower DATABASE_POOL"
        );
    }
}

/// Waits until the broker answers, and checks that the exchange and every retry tier exist. Returns early when `stop`
/// is cancelled.
///
/// # Errors
/// Returns [`NotSetUp::Broker`] and [`NotSetUp::RetryDelays`].
pub async fn broker(check: &BrokerCheck, delays: &RetryDelays, stop: &CancellationToken) -> Result<(), NotSetUp> {
    let mut backoff = Backoff::default();
    let mut logged = false;
    while !stop.is_cancelled() {
        match ask_broker(check, delays).await {
            Ok(verdict) => return verdict,
            Err(why) if !logged => {
                logged = true;
                tracing::warn!(why, "RabbitMQ cannot be reached; retrying. Is it running, and is AMQP_URL correct?");
            }
            Err(_) => {}
        }
        wait(&mut backoff, stop).await;
    }
    Ok(())
}

/// Returns a verdict, or why the broker cannot be reached yet.
async fn ask_broker(check: &BrokerCheck, delays: &RetryDelays) -> Result<Result<(), NotSetUp>, String> {
    match check.exchange_exists().await {
        Ok(()) => {}
        Err(NotReady::Unreachable(why)) => return Err(why),
        Err(NotReady::NoVhost(no)) => return Err(no.to_string()),
        Err(missing) => return Ok(Err(NotSetUp::Broker(missing))),
    }
    for delay in delays.as_slice() {
        match check.queue_exists(&names::retry(*delay)).await {
            Ok(()) => {}
            Err(NotReady::Unreachable(why)) => return Err(why),
            Err(NotReady::NoVhost(no)) => return Err(no.to_string()),
            Err(NotReady::Missing(missing)) => {
                return Ok(Err(NotSetUp::RetryDelays { wanted: delays.clone(), missing }));
            }
        }
    }
    Ok(Ok(()))
}

async fn wait(backoff: &mut Backoff, stop: &CancellationToken) {
    tokio::select! {
        () = backoff.wait() => {}
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Duration};

    use tokio_postgres::error::SqlState;

    use super::*;

    /// Returns what is logged about a database that cannot be reached.
    fn logged(error: &StoreError) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let writer = Arc::new(file.reopen().expect("our own file"));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || tell_unreachable(error, 10));
        fs::read_to_string(file.path()).expect("our own file")
    }

    /// An operator who reads that PostgreSQL cannot be reached looks at the network and at `DATABASE_URL`, in vain.
    #[test]
    fn refused_connection_is_not_reported_as_an_outage() {
        for error in [StoreError::NoConnectionLeft, StoreError::refused(SqlState::TOO_MANY_CONNECTIONS)] {
            let line = logged(&error);
            assert!(line.contains("PostgreSQL has no connection left") && line.contains("wanted=10"), "{line}");
            assert!(line.contains("CONNECTION LIMIT") && !line.contains("DATABASE_URL"), "{line}");
        }
        let line = logged(&StoreError::TimedOut(Duration::from_secs(1)));
        assert!(line.contains("PostgreSQL cannot be reached") && line.contains("is DATABASE_URL correct"), "{line}");
    }
}
