//! `order.cancel-requested`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// A cancellation of the order was requested. The order may still ship: the shipping service decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancelRequested {
    /// Who requested it: `customer`.
    pub by: String,
}

impl EventData for OrderCancelRequested {
    const EVENT: EventName = EventName::of(EventKind::OrderCancelRequested);
}
