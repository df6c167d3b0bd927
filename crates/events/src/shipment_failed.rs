//! `shipment.failed`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind};

/// The carrier refused the parcel for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentFailed {
    /// The carrier's reason as a word: `not_shippable`.
    pub reason: String,
}

impl EventData for ShipmentFailed {
    const KIND: EventKind = EventKind::ShipmentFailed;
}
