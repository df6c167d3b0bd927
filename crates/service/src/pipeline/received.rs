//! An event as a message states it, before it is matched with the event log.

use chrono::{DateTime, Utc};
use orderflow_events::{DecodeError, Envelope, EventName};
use serde_json::Value;
use uuid::Uuid;

use crate::pipeline::event_metadata::EventMetadata;

/// An event as its message states it. Anyone who may publish can write a message, so it only selects the event:
/// handlers get the event log's data ([`verify`](super::verify)).
#[derive(Debug)]
pub struct Received {
    stated: Envelope<Value>,
    /// The trace context of this delivery's step in the order's trace.
    step: Option<String>,
}

impl Received {
    /// Reads a message's body.
    ///
    /// # Errors
    /// Fails if the body is not an event of this kind. Retrying cannot help.
    pub fn decode(name: EventName, body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { stated: Envelope::named(name, body)?, step: None })
    }

    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.stated.id
    }

    /// Returns when the event happened, as the message states it.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        self.stated.time
    }

    /// Returns what the message states.
    #[must_use]
    pub fn stated(&self) -> &Envelope<Value> {
        &self.stated
    }

    /// Returns the trace context to continue: the delivery's own step, or the one that the message states until that
    /// step has begun.
    #[must_use]
    pub fn trace_context(&self) -> Option<&str> {
        self.step.as_deref().or(self.stated.traceparent.as_deref())
    }

    /// Sets the trace context of the delivery's own step.
    pub fn begin(&mut self, step: String) {
        self.step = Some(step);
    }

    /// Returns the fields that log lines and traces carry.
    #[must_use]
    pub fn metadata(&self) -> EventMetadata {
        EventMetadata { traceparent: self.trace_context().map(str::to_owned), ..EventMetadata::from(&self.stated) }
    }
}
