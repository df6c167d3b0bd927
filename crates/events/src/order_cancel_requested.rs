//! `order.cancel-requested`

use serde::{Deserialize, Serialize};

use super::{EventData, EventKind};

/// Someone asked for the order to be cancelled. It may still ship: the shipping service decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelRequested {
    /// Who asked: `customer`.
    pub by: String,
}

impl EventData for OrderCancelRequested {
    const KIND: EventKind = EventKind::OrderCancelRequested;
}
