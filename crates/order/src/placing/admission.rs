//! Admission control: new orders are rejected while the database is unavailable, or while the outbox holds too many of
//! the events that begin or end orders.

use std::time::Duration;

use orderflow_service::{
    config::Admission,
    metrics, periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError, outbox},
    telemetry,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The interval between two measurements of the outbox.
const INTERVAL: Duration = Duration::from_secs(1);

/// When a rejected client may retry. A backlog takes at least this long to clear.
const RETRY_SECONDS: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not measured yet.
    Unknown,
    Open,
    Overloaded,
    DatabaseAway,
}

/// Why new orders are currently rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The outbox is over its limits.
    #[error("too many events wait in the outbox")]
    Overloaded {
        /// When the client may retry, in seconds from now.
        retry_seconds: u64,
    },
    /// The database is unavailable, or has not been reached yet.
    #[error("the database is unavailable, or has not been reached yet")]
    DatabaseUnavailable,
}

/// The current admission state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<State>);

impl Gate {
    /// Starts measuring on the current runtime, until `stop`. Until the first measurement the gate is closed and the
    /// process is not ready.
    #[must_use]
    pub fn start(database: Database, limits: Admission, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(State::Unknown);
        tokio::spawn(watch_outbox(database, limits, sender, stop));
        Self(receiver)
    }

    /// Checks whether new orders are admitted.
    ///
    /// # Errors
    /// Returns [`NotAdmitted`] if they are not. Nothing is stored.
    pub fn admit(&self) -> Result<(), NotAdmitted> {
        match *self.0.borrow() {
            State::Open => Ok(()),
            State::Overloaded => Err(NotAdmitted::Overloaded { retry_seconds: RETRY_SECONDS }),
            State::Unknown | State::DatabaseAway => Err(NotAdmitted::DatabaseUnavailable),
        }
    }

    /// Returns whether the outbox has been measured.
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
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "the database is unavailable: new orders are rejected"
                    );
                }
                State::DatabaseAway
            }
        };
        match (reported, now) {
            (State::Open | State::DatabaseAway, State::Overloaded) => {
                tracing::warn!("too many events wait in the outbox: new orders are rejected; is RabbitMQ reachable?");
            }
            (State::Overloaded | State::DatabaseAway, State::Open) => tracing::info!("new orders are accepted again"),
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
    // Counting one row beyond the limit is enough to know that there are too many.
    let measuring = async |connection: &mut Connection| outbox::depths(connection, most.saturating_add(1)).await;
    let depths = database.run(ANSWER_WITHIN, measuring).await?;
    metrics::get().outbox.depths(&depths);
    let depth = depths.of_orders();
    let too_old = depth.oldest_seconds > limits.max_outbox_age.as_secs_f64();
    Ok(if too_old || depth.rows > most { State::Overloaded } else { State::Open })
}
