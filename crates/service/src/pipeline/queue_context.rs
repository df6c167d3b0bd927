//! What every step of one queue's pipeline takes.

use std::sync::Arc;

use orderflow_events::Envelope;
use tokio_util::sync::CancellationToken;

use crate::{
    Subscription,
    broker::Relay,
    failure::Failure,
    handler::{Done, Handler},
    pipeline::{retry_transaction::Pause, settle::Settle},
    store::Database,
};

/// What every step of one queue's pipeline takes.
pub struct QueueContext<H> {
    /// Whose queue it is.
    pub subscription: Subscription,
    /// The handler.
    pub handler: Arc<H>,
    /// The database.
    pub database: Database,
    /// The way out for the events that follow.
    pub relay: Relay,
    /// Where deliveries end.
    pub settle: Settle,
    /// Whether the queue is paused because the database is unavailable.
    pub pause: Pause,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}

/// An event of a queue.
pub type Event<H> = Arc<Envelope<<H as Handler>::Event>>;

/// An event of a queue that has been acted on.
pub type Finished<H> = Arc<Done<<H as Handler>::Event, <H as Handler>::Effect>>;

/// What a step of the pipeline makes of an event.
#[derive(Debug)]
pub enum Verdict<T> {
    /// It passed, and this came of it.
    Passed(T),
    /// It is applied already: its delivery is to be acknowledged.
    Applied,
    /// It failed: its delivery is to be tried again later, or dead-lettered.
    Failed(Failure),
    /// The database is unavailable: its delivery goes back to the broker with all its attempts.
    Unavailable,
}

impl<T> Verdict<T> {
    /// Returns the verdict with something else that came of it.
    pub fn map<U>(self, passed: impl FnOnce(T) -> U) -> Verdict<U> {
        match self {
            Self::Passed(outcome) => Verdict::Passed(passed(outcome)),
            Self::Applied => Verdict::Applied,
            Self::Failed(failure) => Verdict::Failed(failure),
            Self::Unavailable => Verdict::Unavailable,
        }
    }
}
