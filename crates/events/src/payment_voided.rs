//! `payment.voided`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// Nothing was charged, and nothing will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentVoided {}

impl EventData for PaymentVoided {
    const EVENT: EventName = EventName::of(EventKind::PaymentVoided);
}
