//! `payment.failed`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// The payment was permanently declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentFailed {
    /// The provider's reason code: `card_declined`.
    pub reason: String,
}

impl EventData for PaymentFailed {
    const EVENT: EventName = EventName::of(EventKind::PaymentFailed);
}
