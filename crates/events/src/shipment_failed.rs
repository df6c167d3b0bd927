//! `shipment.failed`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The carrier permanently refused the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShipmentFailed {
    /// The carrier's reason code: `not_shippable`.
    pub reason: String,
}

impl EventData for ShipmentFailed {
    const EVENT: EventName = EventName::of(EventKind::ShipmentFailed);
}
