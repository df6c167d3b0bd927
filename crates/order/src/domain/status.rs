//! The state machine of an order: the only place that defines which event moves which status where.

use std::{fmt, str::FromStr};

use orderflow_events::EventKind;
use serde::{Deserialize, Serialize};

/// The status of an order. It never moves backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted; the payment is in progress.
    Pending,
    /// The customer has to do something before the payment can continue.
    ActionRequired,
    /// Charged.
    Paid,
    /// Every item is reserved.
    Reserved,
    /// The carrier has it.
    Shipped,
    /// On its way.
    InTransit,
    /// Delivered to the customer.
    Delivered,
    /// Permanently declined; nothing was charged.
    PaymentFailed,
    /// It will not ship; compensation is in progress.
    Cancelling,
    /// Compensated: nothing is charged, nothing is reserved.
    Cancelled,
}

impl OrderStatus {
    /// Every status: first those of an order that succeeds, in sequence.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::ActionRequired,
        Self::Paid,
        Self::Reserved,
        Self::Shipped,
        Self::InTransit,
        Self::Delivered,
        Self::PaymentFailed,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// Returns the name in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ActionRequired => "action_required",
            Self::Paid => "paid",
            Self::Reserved => "reserved",
            Self::Shipped => "shipped",
            Self::InTransit => "in_transit",
            Self::Delivered => "delivered",
            Self::PaymentFailed => "payment_failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the order is settled: its customer waits for no further automatic step.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Shipped | Self::InTransit | Self::Delivered | Self::PaymentFailed | Self::Cancelled)
    }

    /// Returns the events that settle an order.
    #[must_use]
    pub fn settled_by() -> Vec<EventKind> {
        let settles = |status: Self, event| !status.is_settled() && status.after(event).is_some_and(Self::is_settled);
        let kinds = EventKind::ALL.iter().copied();
        kinds.filter(|kind| Self::ALL.iter().any(|status| settles(*status, *kind))).collect()
    }

    /// Returns the status after `event`, or `None` if the event is illegal here. A correct system never writes such an
    /// event to the log; the status then stays as it was.
    #[must_use]
    pub const fn after(self, event: EventKind) -> Option<Self> {
        match (self, event) {
            // The front end inserts the order and this event together, as version 1.
            (Self::Pending, EventKind::OrderCreated) => Some(Self::Pending),
            (Self::Pending | Self::ActionRequired, EventKind::PaymentCompleted) => Some(Self::Paid),
            (Self::Pending | Self::ActionRequired, EventKind::PaymentFailed) => Some(Self::PaymentFailed),
            (Self::Paid, EventKind::InventoryReserved) => Some(Self::Reserved),
            (Self::Reserved, EventKind::ShipmentCreated) => Some(Self::Shipped),
            // A request alone never moves the status: the shipping service decides.
            (status, EventKind::OrderCancelRequested) => Some(status),
            // Compensation starts here.
            (Self::Pending | Self::ActionRequired | Self::Paid | Self::Reserved, EventKind::ShipmentCancelled)
            | (Self::Paid, EventKind::InventoryRejected)
            | (Self::Reserved, EventKind::ShipmentFailed) => Some(Self::Cancelling),
            // Forward steps that services took before the cancellation reached them, and their compensation.
            (
                Self::Cancelling,
                EventKind::PaymentCompleted
                | EventKind::PaymentFailed
                | EventKind::InventoryReserved
                | EventKind::InventoryRejected
                | EventKind::ShipmentCancelled
                | EventKind::InventoryReleased
                | EventKind::PaymentRefunded
                | EventKind::PaymentVoided,
            ) => Some(Self::Cancelling),
            (Self::Cancelling, EventKind::OrderCancelled) => Some(Self::Cancelled),
            // The order has already ended, by a declined card or a cancellation for another reason. These events follow
            // from a cancellation request that was still on its way.
            (
                Self::PaymentFailed,
                EventKind::ShipmentCancelled | EventKind::InventoryReleased | EventKind::PaymentVoided,
            ) => Some(Self::PaymentFailed),
            (Self::Cancelled, EventKind::ShipmentCancelled) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// Returns whether the log of an order with this history, from its first event on, is complete.
///
/// This is stricter than [`OrderStatus::is_settled`]: the customer may have requested a cancellation before the order
/// ended, and the events that follow from the request are still to come. No request can follow the event that settles
/// the order: the front end rolls a request back if the order ended before it (`store/cancel.rs`).
#[must_use]
pub fn is_final(history: &[EventKind]) -> bool {
    let happened = |event| history.contains(&event);
    let status = history.iter().fold(OrderStatus::Pending, |status, event| status.after(*event).unwrap_or(status));
    match status {
        // Nothing was shipped, so the request is granted and the order is compensated step by step.
        OrderStatus::PaymentFailed => !happened(EventKind::OrderCancelRequested) || happened(EventKind::PaymentVoided),
        // Cancelled for another reason while the request was on its way. The request is granted too, unless the carrier
        // had refused the shipment before.
        OrderStatus::Cancelled => {
            !happened(EventKind::OrderCancelRequested)
                || happened(EventKind::ShipmentCancelled)
                || happened(EventKind::ShipmentFailed)
        }
        status => status.is_settled(),
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error for text that does not name an [`OrderStatus`].
#[derive(Debug, thiserror::Error)]
#[error("unknown order status {0:?}")]
pub struct UnknownStatus(pub String);

impl FromStr for OrderStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: &[EventKind]) -> Option<OrderStatus> {
        events.iter().try_fold(OrderStatus::Pending, |status, event| status.after(*event))
    }

    #[test]
    fn three_events_settle_an_order() {
        use EventKind::{OrderCancelled, PaymentFailed, ShipmentCreated};
        assert_eq!(OrderStatus::settled_by(), [PaymentFailed, ShipmentCreated, OrderCancelled]);
    }

    #[test]
    fn forward_paths_end_in_shipped_or_payment_failed() {
        use EventKind::*;
        let shipped = [OrderCreated, PaymentCompleted, InventoryReserved, ShipmentCreated];
        assert_eq!(fold(&shipped), Some(OrderStatus::Shipped));
        assert_eq!(fold(&[OrderCreated, PaymentFailed]), Some(OrderStatus::PaymentFailed));
    }

    #[test]
    fn order_that_cannot_ship_is_compensated_and_cancelled() {
        use EventKind::*;
        let undone = [InventoryReleased, PaymentRefunded, OrderCancelled];
        let refused = [OrderCreated, PaymentCompleted, InventoryReserved, ShipmentFailed];
        assert_eq!(fold(&refused), Some(OrderStatus::Cancelling));
        assert_eq!(fold(&[&refused[..], &undone].concat()), Some(OrderStatus::Cancelled));
        let rejected = [OrderCreated, PaymentCompleted, InventoryRejected, PaymentRefunded, OrderCancelled];
        assert_eq!(fold(&rejected), Some(OrderStatus::Cancelled));
    }

    #[test]
    fn cancellation_may_cross_every_forward_step() {
        use EventKind::*;
        let cancelled = Some(OrderStatus::Cancelled);
        for (history, end) in [
            (
                &[OrderCancelRequested, ShipmentCancelled, InventoryReleased, PaymentVoided, OrderCancelled][..],
                cancelled,
            ),
            (
                &[
                    OrderCancelRequested,
                    ShipmentCancelled,
                    PaymentCompleted,
                    InventoryReleased,
                    PaymentRefunded,
                    OrderCancelled,
                ],
                cancelled,
            ),
            (&[ShipmentCancelled, PaymentFailed, InventoryReleased, PaymentVoided, OrderCancelled], cancelled),
            (
                &[
                    PaymentCompleted,
                    ShipmentCancelled,
                    InventoryReserved,
                    InventoryReleased,
                    PaymentRefunded,
                    OrderCancelled,
                ],
                cancelled,
            ),
            (&[PaymentCompleted, ShipmentCancelled, InventoryRejected, PaymentRefunded, OrderCancelled], cancelled),
            (&[PaymentCompleted, InventoryRejected, PaymentRefunded, OrderCancelled, ShipmentCancelled], cancelled),
            (&[PaymentFailed, ShipmentCancelled, InventoryReleased, PaymentVoided], Some(OrderStatus::PaymentFailed)),
            (&[PaymentCompleted, InventoryReserved, ShipmentCreated, OrderCancelRequested], Some(OrderStatus::Shipped)),
        ] {
            assert_eq!(fold(&[&[OrderCreated][..], history].concat()), end, "{history:?}");
        }
    }

    #[test]
    fn every_event_has_a_place() {
        for event in EventKind::ALL {
            let place = OrderStatus::ALL.into_iter().any(|status| status.after(*event).is_some());
            assert!(place, "{event} is illegal after every status: add it to OrderStatus::after");
        }
    }

    #[test]
    fn no_event_moves_a_settled_order() {
        for status in OrderStatus::ALL.into_iter().filter(|status| status.is_settled()) {
            for event in EventKind::ALL {
                assert_eq!(status.after(*event).unwrap_or(status), status, "at {event}");
            }
        }
    }

    #[test]
    fn order_is_final_once_all_events_after_a_cancellation_request_are_logged() {
        use EventKind::*;
        for (history, last) in [
            (&[PaymentCompleted, InventoryReserved, ShipmentCreated][..], 3),
            (&[PaymentCompleted, OrderCancelRequested, InventoryReserved, ShipmentCreated], 4),
            (&[PaymentFailed], 1),
            (&[OrderCancelRequested, PaymentFailed, ShipmentCancelled, InventoryReleased, PaymentVoided], 5),
            (&[OrderCancelRequested, ShipmentCancelled, InventoryReleased, PaymentVoided, OrderCancelled], 5),
            (&[PaymentCompleted, InventoryRejected, PaymentRefunded, OrderCancelled], 4),
            (
                &[
                    PaymentCompleted,
                    OrderCancelRequested,
                    InventoryRejected,
                    PaymentRefunded,
                    OrderCancelled,
                    ShipmentCancelled,
                ],
                6,
            ),
            (
                &[
                    PaymentCompleted,
                    InventoryReserved,
                    OrderCancelRequested,
                    ShipmentFailed,
                    InventoryReleased,
                    PaymentRefunded,
                    OrderCancelled,
                ],
                7,
            ),
        ] {
            let whole = [&[OrderCreated][..], history].concat();
            let is_final: Vec<_> = (1..=whole.len()).filter(|length| super::is_final(&whole[..*length])).collect();
            assert_eq!(is_final, [last + 1], "{history:?}");
        }
    }

    #[test]
    fn status_names_parse_back_and_match_the_json() {
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse::<OrderStatus>().ok(), Some(status));
            assert_eq!(serde_json::to_value(status).ok(), Some(serde_json::Value::String(status.as_str().to_owned())));
        }
    }
}
