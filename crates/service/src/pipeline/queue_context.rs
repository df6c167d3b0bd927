//! The context that every step of one queue's pipeline uses.

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

/// The context that every step of one queue's pipeline uses.
pub struct QueueContext<H> {
    /// The subscription that the queue belongs to.
    pub subscription: Subscription,
    /// The handler.
    pub handler: Arc<H>,
    /// The database.
    pub database: Database,
    /// Publishes the events that handlers record.
    pub relay: Relay,
    /// Settles deliveries.
    pub settle: Settle,
    /// Whether the queue is paused because the database is unavailable.
    pub pause: Pause,
    /// Cancelled when the process must stop.
    pub stop: CancellationToken,
}

/// An event of a queue, as the event log has it.
pub type Event<H> = Arc<Envelope<<H as Handler>::Event>>;

/// An event of a queue that has been acted on.
pub type Finished<H> = Arc<Done<<H as Handler>::Event, <H as Handler>::Effect>>;

/// An event of a queue that is ready to be recorded.
pub enum Recordable<H: Handler> {
    /// Verified and acted on.
    Acted(Finished<H>),
    /// Received but not verified, with a function that makes its effect. There is nothing to act on; the recording
    /// transaction verifies the event first.
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

    /// Returns the order that the message states, and the trace context to continue.
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

/// The outcome of one pipeline step for an event.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The event passed, with this result.
    Passed(T),
    /// The event is already applied: acknowledge its delivery.
    Applied,
    /// The event failed: retry its delivery later, or dead-letter it.
    Failed(Failure),
    /// The database is unavailable: the delivery returns to the broker with all its attempts.
    Unavailable,
}

impl<T> Verdict<T> {
    /// Returns the result of an event that passed.
    pub fn passed(&self) -> Option<&T> {
        match self {
            Self::Passed(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Returns the verdict of the next step on an event that passed this one, and any other verdict unchanged.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Verdict<U>) -> Verdict<U> {
        match self {
            Self::Passed(outcome) => next(outcome),
            Self::Applied => Verdict::Applied,
            Self::Failed(failure) => Verdict::Failed(failure),
            Self::Unavailable => Verdict::Unavailable,
        }
    }
}
