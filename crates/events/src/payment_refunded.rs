//! `payment.refunded`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The whole charge was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentRefunded {
    /// The payment, by our own id; the provider's is in the payment service's rows.
    pub payment_id: String,
    /// What was given back, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

impl EventData for PaymentRefunded {
    const EVENT: EventName = EventName::of(EventKind::PaymentRefunded);
}
