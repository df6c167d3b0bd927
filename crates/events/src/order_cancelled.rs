//! `order.cancelled`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The order has ended without shipping: nothing is set aside, nothing is charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancelled {
    /// Why, as a word: one of the constants of this type. Readers take others as "for some reason".
    pub reason: String,
    /// What was given back; none where nothing had been charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Refunded>,
}

impl OrderCancelled {
    /// It was asked for.
    pub const REQUESTED: &str = "requested";
    /// Something in it could not be set aside.
    pub const OUT_OF_STOCK: &str = "out_of_stock";
    /// The carrier does not take it.
    pub const CARRIER_REFUSED: &str = "carrier_refused";
}

impl EventData for OrderCancelled {
    const EVENT: EventName = EventName::of(EventKind::OrderCancelled);
}

/// Money that was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Refunded {
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}
