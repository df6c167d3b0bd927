//! Database work that outlives a database: tried again while it is unavailable, bounded, never cancelled half-way.

use std::{future::Future, sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Backoff,
    store::{Remedy, StoreError},
    telemetry,
};

/// A transaction of a full batch takes some 20 ms; beyond this its connection is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(40);

/// How often work that fails on its data is tried. Two transactions that took the same version or each other's locks
/// pass at the second try.
const TRIES: u32 = 3;

/// How long work waits for a database that is unavailable: longer than a restart takes. After that its queue is paused.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest wait between two attempts: a database that is mended is used again within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Whether a queue is paused because the database is unavailable. Its messages wait on the broker with all their
/// attempts, and one at a time is tried, until one is recorded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Default for Pause {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Pause {
    /// Whether the queue is paused.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Pauses the queue, or ends its pause.
    pub fn set(&self, on: bool) {
        self.0.send_if_modified(|is| std::mem::replace(is, on) != on);
    }

    /// Waits until [`Pause::is_on`] is `wanted`; returns at once where it is.
    pub async fn until(&self, wanted: bool) {
        // The sender is in `self`, so the channel cannot close.
        drop(self.0.subscribe().wait_for(|on| *on == wanted).await);
    }
}

/// Why the work could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The database's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The code's.
    #[error("the handler panicked")]
    Panicked,
}

impl TransactionError {
    /// What helps against it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Panicked => Remedy::None,
        }
    }

    /// Whether nothing is wrong with the data of work that is one event's (`alone`) or several's: other transactions in
    /// the way of several may be in the way of one of them only.
    #[must_use]
    pub fn is_unavailable(&self, alone: bool) -> bool {
        match self.remedy() {
            Remedy::Wait => true,
            Remedy::Retry => alone,
            Remedy::None => false,
        }
    }
}

/// Runs `attempt` until it succeeds, fails three times on its data, panics three times, or the database has been
/// unavailable for 15 s or `stop` is cancelled meanwhile. Work for one event `alone` also waits that long for other
/// transactions; that of several is given back after three tries, to be split. Each attempt is a task of its own: a
/// caller that goes away does not leave a transaction open, and a panic is an error here.
///
/// # Errors
/// Those of the last attempt.
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
    let mut told = false;
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
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(queue, error = telemetry::chain(&error), "the database is unavailable; trying again");
            }
            tokio::time::sleep(backoff.next_delay().min(LONGEST_WAIT)).await;
        } else {
            tracing::debug!(queue, tries, error = telemetry::chain(&error), "a transaction was rolled back");
            if tries >= TRIES {
                return Err(error);
            }
            let pause = Duration::from_millis(rand::rng().random_range(2..40));
            tokio::time::sleep(pause).await;
        }
    }
}
