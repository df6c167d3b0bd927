//! Database work that survives an outage: retried while the database is unavailable, bounded, never cancelled half-way.

use std::{future::Future, sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Backoff,
    store::{Remedy, StoreError},
    telemetry,
};

/// A full batch takes about 20 ms; a transaction that takes longer than this is abandoned with its connection.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(40);

/// The maximum number of tries for work that fails on its data. Two transactions that took the same version or each
/// other's locks succeed at the second try.
const TRIES: u32 = 3;

/// How long work waits for an unavailable database: longer than a restart takes. After that its queue is paused.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest wait between two attempts, so that a recovered database is used again within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Whether a queue is paused because the database is unavailable. Its messages then wait on the broker with all their
/// attempts, and one at a time is tried until one is recorded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Default for Pause {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Pause {
    /// Returns whether the queue is paused.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Pauses the queue, or ends its pause.
    pub fn set(&self, on: bool) {
        self.0.send_if_modified(|is| std::mem::replace(is, on) != on);
    }

    /// Waits until [`Pause::is_on`] is `wanted`; returns immediately if it already is.
    pub async fn until(&self, wanted: bool) {
        // The sender is in `self`, so the channel cannot close.
        drop(self.0.subscribe().wait_for(|on| *on == wanted).await);
    }
}

/// Why the work could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked,
}

impl TransactionError {
    /// Returns what helps against this error.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Panicked => Remedy::None,
        }
    }

    /// Returns whether the data is not at fault. `alone` means that the work is a single event's: a conflict of several
    /// events may concern only one of them, so those are split first.
    #[must_use]
    pub fn is_unavailable(&self, alone: bool) -> bool {
        match self.remedy() {
            Remedy::Wait => true,
            Remedy::Retry => alone,
            Remedy::None => false,
        }
    }
}

/// Runs `attempt` until it succeeds or must be given up.
///
/// Gives up after three failures on data, conflicts or panics, counted together; or while the database is unavailable,
/// once 15 s have passed or `stop` is cancelled. Work for one event (`alone`) also waits up to those 15 s for other
/// transactions. A batch is given up after three conflicts, so that the caller can split it. Each attempt runs in its
/// own task: a cancelled caller leaves no transaction open, and a panic becomes an error.
///
/// # Errors
/// Returns the errors of the last attempt.
pub async fn retry_transaction<T, F, Fut>(
    queue: &str,
    stop: &CancellationToken,
    alone: bool,
    attempt: F,
) -> Result<T, TransactionError>
where
    T: Send + 'static,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let mut backoff = Backoff::default();
    let given_up = Instant::now() + PATIENCE;
    let mut tries: u32 = 0;
    let mut logged = false;
    loop {
        let bounded = tokio::time::timeout(TRANSACTION_TIMEOUT, attempt());
        let error = match tokio::spawn(bounded).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(error))) => error.into(),
            Ok(Err(_)) => StoreError::TimedOut(TRANSACTION_TIMEOUT).into(),
            Err(_) => TransactionError::Panicked,
        };
        let remedy = error.remedy();
        if remedy != Remedy::Wait {
            tries = tries.saturating_add(1);
        }
        if remedy == Remedy::Wait || (remedy == Remedy::Retry && alone && tries >= TRIES) {
            if stop.is_cancelled() || Instant::now() > given_up {
                return Err(error);
            }
            if !std::mem::replace(&mut logged, true) {
                tracing::warn!(queue, error = telemetry::chain(&error), "the database is unavailable; trying again");
            }
            tokio::time::sleep(backoff.next_delay().min(LONGEST_WAIT)).await;
        } else {
            tracing::debug!(queue, tries, error = telemetry::chain(&error), "an attempt failed");
            if tries >= TRIES {
                return Err(error);
            }
            let pause = Duration::from_millis(rand::rng().random_range(2..40));
            tokio::time::sleep(pause).await;
        }
    }
}
