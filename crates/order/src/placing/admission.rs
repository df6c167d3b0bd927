//! Whether new orders are taken: not while the database is away, and not while too much of what begins or ends them waits for the
//! broker.

use std::time::Duration;

use orderflow_service::{
    config::Admission,
    metrics, periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError, outbox},
    telemetry,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the outbox is measured.
const INTERVAL: Duration = Duration::from_secs(1);

/// When a refused client may ask again: a backlog is not gone in less.
const RETRY_SECONDS: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not measured yet.
    Unknown,
    Open,
    Overloaded,
    DatabaseAway,
}

/// Why a new order may not come in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Too much waits in the outbox.
    #[error("too much waits in the outbox")]
    Overloaded {
        /// When the client may ask again.
        retry_seconds: u64,
    },
    /// The database is unavailable, or was not reached yet.
    #[error("the database is unavailable, or was not reached yet")]
    DatabaseUnavailable,
}

/// The present answer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<State>);

impl Gate {
    /// Starts to measure, on the current runtime, until `stop`. Closed until the first measurement, and so long the
    /// process is not ready.
    #[must_use]
    pub fn start(database: Database, limits: Admission, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(State::Unknown);
        tokio::spawn(watch_outbox(database, limits, sender, stop));
        Self(receiver)
    }

    /// Checks whether a new order may come in.
    ///
    /// # Errors
    /// [`NotAdmitted`]; nothing was stored.
    pub fn admit(&self) -> Result<(), NotAdmitted> {
        match *self.0.borrow() {
            State::Open => Ok(()),
            State::Overloaded => Err(NotAdmitted::Overloaded { retry_seconds: RETRY_SECONDS }),
            State::Unknown | State::DatabaseAway => Err(NotAdmitted::DatabaseUnavailable),
        }
    }

    /// Whether there was a measurement.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        *self.0.borrow() != State::Unknown
    }
}

async fn watch_outbox(database: Database, limits: Admission, state: watch::Sender<State>, stop: CancellationToken) {
    let mut reported = State::Open;
    loop {
        let now = match measure(&database, limits).await {
            Ok(now) => now,
            Err(error) => {
                if reported != State::DatabaseAway {
                    tracing::warn!(error = telemetry::chain(&error), "the database is away: orders are refused");
                }
                State::DatabaseAway
            }
        };
        match (reported, now) {
            (State::Open | State::DatabaseAway, State::Overloaded) => {
                tracing::warn!("too much waits in the outbox: orders are refused; is RabbitMQ reachable?");
            }
            (State::Overloaded | State::DatabaseAway, State::Open) => tracing::info!("orders are taken again"),
            _ => {}
        }
        reported = now;
        metrics::get().orders.admitting(now == State::Open);
        state.send_replace(now);
        if !periodic::pause(INTERVAL, &stop).await {
            return;
        }
    }
}

async fn measure(database: &Database, limits: Admission) -> Result<State, StoreError> {
    let most = limits.max_outbox_rows;
    // One more than the limit is enough to know that there are too many.
    let measuring = async |connection: &mut Connection| outbox::depths(connection, most.saturating_add(1)).await;
    let depths = database.run(ANSWER_WITHIN, measuring).await?;
    metrics::get().outbox.depths(&depths);
    let depth = depths.of_orders();
    let too_old = depth.oldest_seconds > limits.max_outbox_age.as_secs_f64();
    Ok(if too_old || depth.rows > most { State::Overloaded } else { State::Open })
}
