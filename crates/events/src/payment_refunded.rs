//! `payment.refunded`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The whole charge was refunded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentRefunded {
    /// Our own id of the payment; the provider's id is in the payment service's tables.
    pub payment_id: String,
    /// The amount refunded, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

impl EventData for PaymentRefunded {
    const EVENT: EventName = EventName::of(EventKind::PaymentRefunded);
}
