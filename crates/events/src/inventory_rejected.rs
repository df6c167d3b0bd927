//! `inventory.rejected`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// At least one item could not be reserved, so none was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryRejected {
    /// The products that were short.
    pub short: Vec<ShortItem>,
}

impl EventData for InventoryRejected {
    const EVENT: EventName = EventName::of(EventKind::InventoryRejected);
}

/// A product that was short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShortItem {
    /// The product.
    pub sku: String,
    /// Pieces that the order needed.
    pub wanted: i64,
    /// Pieces that were available.
    pub available: i64,
}
