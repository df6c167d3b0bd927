//! `order.cancelled`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The order has ended without shipping: nothing is reserved, nothing is charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancelled {
    /// The reason: `requested`, `out_of_stock` or `carrier_refused`. Consumers must accept unknown reasons.
    pub reason: String,
    /// The refund; absent if nothing had been charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Refunded>,
}

impl OrderCancelled {
    /// The cancellation was requested.
    pub const REQUESTED: &str = "requested";
    /// An item could not be reserved.
    pub const OUT_OF_STOCK: &str = "out_of_stock";
    /// The carrier refused the parcel.
    pub const CARRIER_REFUSED: &str = "carrier_refused";
}

impl EventData for OrderCancelled {
    const EVENT: EventName = EventName::of(EventKind::OrderCancelled);
}

/// Refunded money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Refunded {
    /// The amount in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}
