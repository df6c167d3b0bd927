//! `inventory.reserved`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// Every item of the order is reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryReserved {
    /// How many different products were reserved.
    pub products: usize,
}

impl EventData for InventoryReserved {
    const EVENT: EventName = EventName::of(EventKind::InventoryReserved);
}
