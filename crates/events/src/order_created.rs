//! `order.created`

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventData, EventKind, EventName};

/// The front end accepted an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCreated {
    /// The number that customers quote on the phone.
    pub number: String,
    /// Σ price × quantity, in minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// The ordered items, in the order of the request.
    pub items: Vec<OrderedItem>,
    /// The order with a declined payment that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Uuid>,
}

impl EventData for OrderCreated {
    const EVENT: EventName = EventName::of(EventKind::OrderCreated);
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderedItem {
    /// The product.
    pub sku: String,
    /// The number of pieces, 1 to 99.
    pub quantity: i32,
    /// The price of one piece when the order was placed, in minor units.
    pub price: i64,
}
