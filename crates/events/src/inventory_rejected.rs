//! `inventory.rejected`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// At least one item could not be set aside, so none was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryRejected {
    /// What was short.
    pub short: Vec<ShortItem>,
}

impl EventData for InventoryRejected {
    const EVENT: EventName = EventName::of(EventKind::InventoryRejected);
}

/// A product of which there was not enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShortItem {
    /// The product.
    pub sku: String,
    /// Pieces that the order wanted.
    pub wanted: i64,
    /// Pieces that there were.
    pub available: i64,
}
