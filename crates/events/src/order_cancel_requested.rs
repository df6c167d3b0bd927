//! `order.cancel-requested`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind, EventName};

/// Someone asked for the order to be cancelled. It may still ship: the shipping service decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancelRequested {
    /// Who asked: `customer`.
    pub by: String,
}

impl EventData for OrderCancelRequested {
    const EVENT: EventName = EventName::of(EventKind::OrderCancelRequested);
}
