//! `loyalty.points-booked`

use orderflow_service::events::{EventData, EventName};
use serde::{Deserialize, Serialize};

/// Points were booked for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointsBooked {
    /// One point per 100 minor units.
    pub points: i64,
}

impl EventData for PointsBooked {
    const EVENT: EventName = EventName::new("loyalty.points-booked");
}
