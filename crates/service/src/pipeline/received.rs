//! An event as a message states it, before it is matched with the event log.

use chrono::{DateTime, Utc};
use orderflow_events::{DecodeError, Envelope, EventName};
use serde_json::Value;
use uuid::Uuid;

use crate::pipeline::event_metadata::EventMetadata;

/// An event as its message states it. Anyone with the right to publish can write a message, so it only selects the event:
/// handlers get the event log's data ([`verify`](super::verify)).
#[derive(Debug)]
pub struct Received {
    stated: Envelope<Value>,
    /// The trace context of the step of the order's trace that this delivery is.
    step: Option<String>,
}

impl Received {
    /// Reads a message's body.
    ///
    /// # Errors
    /// When it is no event of this kind. Trying again cannot help.
    pub fn decode(name: EventName, body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { stated: Envelope::named(name, body)?, step: None })
    }

    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.stated.id
    }

    /// Returns when it happened, by what the message states.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        self.stated.time
    }

    /// Returns what the message states.
    #[must_use]
    pub fn stated(&self) -> &Envelope<Value> {
        &self.stated
    }

    /// Returns the trace context to go on with: the delivery's own step, or what the message states before that has begun.
    #[must_use]
    pub fn trace_context(&self) -> Option<&str> {
        self.step.as_deref().or(self.stated.traceparent.as_deref())
    }

    /// Sets the trace context of the step that its delivery is.
    pub fn begin(&mut self, step: String) {
        self.step = Some(step);
    }

    /// Returns what the log and the trace say about it.
    #[must_use]
    pub fn metadata(&self) -> EventMetadata {
        EventMetadata { traceparent: self.trace_context().map(str::to_owned), ..EventMetadata::from(&self.stated) }
    }
}
