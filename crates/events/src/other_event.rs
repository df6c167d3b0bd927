//! The data of events of kinds that this version does not know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventData, EventName};

/// The unmodified data of an event of any kind, for handlers that need only the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OtherEvent(pub Value);

impl EventData for OtherEvent {
    const EVENT: EventName = EventName::OTHER;
}
