//! What every step of one queue's pipeline takes.

use std::sync::Arc;

use orderflow_events::Envelope;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Subscription,
    broker::Relay,
    failure::Failure,
    handler::{Done, Handler},
    pipeline::{received::Received, retry_transaction::Pause, settle::Settle},
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

/// An event of a queue, as the event log has it.
pub type Event<H> = Arc<Envelope<<H as Handler>::Event>>;

/// An event of a queue that has been acted on.
pub type Finished<H> = Arc<Done<<H as Handler>::Event, <H as Handler>::Effect>>;

/// An event of a queue that is to be recorded.
pub enum Recordable<H: Handler> {
    /// Verified and acted on.
    Acted(Finished<H>),
    /// As it was received, and how to make its effect: there is nothing to act on, and the transaction that records it verifies
    /// it first.
    Received(Arc<Received>, fn() -> H::Effect),
}

impl<H: Handler> Recordable<H> {
    /// Returns the event's id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Acted(done) => done.event.id,
            Self::Received(event, _) => event.id(),
        }
    }

    /// Returns the order, by what the message states, and the trace context to go on with.
    pub fn order_and_trace(&self) -> (Uuid, Option<&str>) {
        match self {
            Self::Acted(done) => (done.event.order_id, done.event.traceparent.as_deref()),
            Self::Received(event, _) => (event.stated().order_id, event.trace_context()),
        }
    }
}

impl<H: Handler> Clone for Recordable<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Acted(done) => Self::Acted(Arc::clone(done)),
            Self::Received(event, effect) => Self::Received(Arc::clone(event), *effect),
        }
    }
}

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
    /// Returns what came of an event that passed.
    pub fn passed(&self) -> Option<&T> {
        match self {
            Self::Passed(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Returns the verdict of the next step on an event that passed this one.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Verdict<U>) -> Verdict<U> {
        match self {
            Self::Passed(outcome) => next(outcome),
            Self::Applied => Verdict::Applied,
            Self::Failed(failure) => Verdict::Failed(failure),
            Self::Unavailable => Verdict::Unavailable,
        }
    }
}
