//! `shipment.created`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The carrier took the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShipmentCreated {
    /// What the customer can follow the parcel by.
    pub tracking_number: String,
}

impl EventData for ShipmentCreated {
    const EVENT: EventName = EventName::of(EventKind::ShipmentCreated);
}
