//! `payment.completed`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The customer was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentCompleted {
    /// The payment, by our own id; the provider's is in the payment service's rows.
    pub payment_id: String,
    /// What was charged, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

impl EventData for PaymentCompleted {
    const EVENT: EventName = EventName::of(EventKind::PaymentCompleted);
}
