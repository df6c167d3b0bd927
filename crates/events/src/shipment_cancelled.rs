//! `shipment.cancelled`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The cancellation request arrived before the parcel was handed over: the order will not ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShipmentCancelled {}

impl EventData for ShipmentCancelled {
    const EVENT: EventName = EventName::of(EventKind::ShipmentCancelled);
}
