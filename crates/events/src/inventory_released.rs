//! `inventory.released`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// Nothing is reserved for the order any more, and nothing will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryReleased {
    /// How many different products went back into stock; 0 if none had been reserved.
    pub products: usize,
}

impl EventData for InventoryReleased {
    const EVENT: EventName = EventName::of(EventKind::InventoryReleased);
}
