//! `payment.completed`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The customer was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentCompleted {
    /// Our own id of the payment; the provider's id is in the payment service's tables.
    pub payment_id: String,
    /// The amount charged, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

impl EventData for PaymentCompleted {
    const EVENT: EventName = EventName::of(EventKind::PaymentCompleted);
}
