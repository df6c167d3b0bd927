//! `payment.voided`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind};

/// Nothing was charged, and nothing will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentVoided {}

impl EventData for PaymentVoided {
    const KIND: EventKind = EventKind::PaymentVoided;
}
