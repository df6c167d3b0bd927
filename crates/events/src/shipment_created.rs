//! `shipment.created`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The carrier accepted the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShipmentCreated {
    /// The carrier's number that the customer can track the parcel with.
    pub tracking_number: String,
}

impl EventData for ShipmentCreated {
    const EVENT: EventName = EventName::of(EventKind::ShipmentCreated);
}
