//! Database work that outlives a database: tried again while it is away, bounded, never cancelled half-way.

use std::{future::Future, time::Duration};

use orderflow::{broker::Backoff, store::StoreError, telemetry};
use rand::RngExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A transaction of a full batch takes some 20 ms; beyond this its connection is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(40);

/// How often work that fails on its data is tried. Two transactions that took the same version or each other's locks
/// pass at the second try.
const TRIES: u32 = 3;

/// How long work waits for a database that is away. After that its messages go to the retry tiers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the work could not be done.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The database's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The code's.
    #[error("the handler panicked")]
    Panicked,
}

impl PersistError {
    /// The database was away all the time: nothing is wrong with the data.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unavailable())
    }
}

/// Runs `attempt` until it succeeds, fails three times on its data, panics three times, or the database has been away
/// for a minute or `stop` is cancelled meanwhile. Each attempt is a task of its own: a caller that goes away does not
/// leave a transaction open, and a panic is an error here.
///
/// # Errors
/// Those of the last attempt.
pub async fn persistently<T, F, Fut>(queue: &str, stop: &CancellationToken, attempt: F) -> Result<T, PersistError>
where
    T: Send + 'static,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let mut backoff = Backoff::default();
    let given_up = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        let bounded = tokio::time::timeout(TRANSACTION_TIMEOUT, attempt());
        let error = match tokio::spawn(bounded).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(error))) => error.into(),
            Ok(Err(_)) => StoreError::TimedOut(TRANSACTION_TIMEOUT).into(),
            Err(_) => PersistError::Panicked,
        };
        if error.is_unavailable() {
            if stop.is_cancelled() || Instant::now() > given_up {
                return Err(error);
            }
            tracing::warn!(queue, error = telemetry::chain(&error), "the database is away; trying again");
            backoff.wait().await;
        } else {
            tries += 1;
            tracing::debug!(queue, tries, error = telemetry::chain(&error), "a transaction was rolled back");
            if tries == TRIES {
                return Err(error);
            }
            let pause = Duration::from_millis(rand::rng().random_range(2..40));
            tokio::time::sleep(pause).await;
        }
    }
}
