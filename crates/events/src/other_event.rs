//! The data of events whose kind this version does not know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventData, EventName};

/// The data of an event of any kind, as it was written. For handlers that need the envelope alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OtherEvent(pub Value);

impl EventData for OtherEvent {
    const EVENT: EventName = EventName::OTHER;
}
