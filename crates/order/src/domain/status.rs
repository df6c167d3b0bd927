//! The state machine of an order: the one place that says which event moves which status where.

use std::{fmt, str::FromStr};

use orderflow_events::EventKind;
use serde::{Deserialize, Serialize};

/// Where an order stands. It never moves backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted; the payment is under way.
    Pending,
    /// The customer has to do something before the payment can go on.
    ActionRequired,
    /// Charged.
    Paid,
    /// Every item is set aside.
    Reserved,
    /// The carrier has it.
    Shipped,
    /// On its way.
    InTransit,
    /// Handed over.
    Delivered,
    /// Declined for good; nothing was charged.
    PaymentFailed,
    /// It will not ship; what was done is being undone.
    Cancelling,
    /// Undone: nothing is charged, nothing is set aside.
    Cancelled,
}

impl OrderStatus {
    /// Every status, in the order in which an order that goes well has them first.
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

    /// The name in JSON and in the database.
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

    /// Nothing more will happen by itself that a customer waits for.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Shipped | Self::InTransit | Self::Delivered | Self::PaymentFailed | Self::Cancelled)
    }

    /// The events that settle an order.
    #[must_use]
    pub fn settled_by() -> Vec<EventKind> {
        let settles = |status: Self, event| !status.is_settled() && status.after(event).is_some_and(Self::is_settled);
        let kinds = EventKind::ALL.iter().copied();
        kinds.filter(|kind| Self::ALL.iter().any(|status| settles(*status, *kind))).collect()
    }

    /// The status after `event`, or `None` where the event has no place: the log then holds something that
    /// a correct system does not write, and the status stays as it was.
    #[must_use]
    pub const fn after(self, event: EventKind) -> Option<Self> {
        match (self, event) {
            // The front end inserts the order and this event together, as version 1.
            (Self::Pending, EventKind::OrderCreated) => Some(Self::Pending),
            (Self::Pending | Self::ActionRequired, EventKind::PaymentCompleted) => Some(Self::Paid),
            (Self::Pending | Self::ActionRequired, EventKind::PaymentFailed) => Some(Self::PaymentFailed),
            (Self::Paid, EventKind::InventoryReserved) => Some(Self::Reserved),
            (Self::Reserved, EventKind::ShipmentCreated) => Some(Self::Shipped),
            // A request moves nothing by itself, whenever it comes: the shipping service decides.
            (status, EventKind::OrderCancelRequested) => Some(status),
            // Here the order turns back.
            (Self::Pending | Self::ActionRequired | Self::Paid | Self::Reserved, EventKind::ShipmentCancelled)
            | (Self::Paid, EventKind::InventoryRejected)
            | (Self::Reserved, EventKind::ShipmentFailed) => Some(Self::Cancelling),
            // What services did forward while the cancel was on its way to them, and what they then undo.
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
            // A cancel that crossed a declined card, or a cancel for another reason: the order has ended already.
            (
                Self::PaymentFailed,
                EventKind::ShipmentCancelled | EventKind::InventoryReleased | EventKind::PaymentVoided,
            ) => Some(Self::PaymentFailed),
            (Self::Cancelled, EventKind::ShipmentCancelled) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// Whether nothing more can come into the log of an order with this history, from its first event on.
///
/// More than [`OrderStatus::is_settled`]: an order that has ended may have been asked to be cancelled meanwhile, and what
/// follows from that is still told. A request cannot come later than what settles the order: the front end writes it
/// under the lock under which the status is folded, and refuses it once the order is settled.
#[must_use]
pub fn is_final(history: &[EventKind]) -> bool {
    let happened = |event| history.contains(&event);
    let status = history.iter().fold(OrderStatus::Pending, |status, event| status.after(*event).unwrap_or(status));
    match status {
        // The request is granted, since nothing was shipped, and undone step by step.
        OrderStatus::PaymentFailed => !happened(EventKind::OrderCancelRequested) || happened(EventKind::PaymentVoided),
        // Turned back for another reason while the request was on its way: that is granted too, unless the carrier's
        // refusal came first.
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

/// A text that names no [`OrderStatus`].
#[derive(Debug, thiserror::Error)]
#[error("no order status is called {0:?}")]
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
    fn the_forward_paths_end_where_they_should() {
        use EventKind::*;
        let shipped = [OrderCreated, PaymentCompleted, InventoryReserved, ShipmentCreated];
        assert_eq!(fold(&shipped), Some(OrderStatus::Shipped));
        assert_eq!(fold(&[OrderCreated, PaymentFailed]), Some(OrderStatus::PaymentFailed));
    }

    #[test]
    fn what_cannot_ship_is_undone_and_cancelled() {
        use EventKind::*;
        let undone = [InventoryReleased, PaymentRefunded, OrderCancelled];
        let refused = [OrderCreated, PaymentCompleted, InventoryReserved, ShipmentFailed];
        assert_eq!(fold(&refused), Some(OrderStatus::Cancelling));
        assert_eq!(fold(&[&refused[..], &undone].concat()), Some(OrderStatus::Cancelled));
        let rejected = [OrderCreated, PaymentCompleted, InventoryRejected, PaymentRefunded, OrderCancelled];
        assert_eq!(fold(&rejected), Some(OrderStatus::Cancelled));
    }

    #[test]
    fn a_cancel_may_cross_every_forward_step() {
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
            assert!(place, "{event} has no place after any status: say in OrderStatus::after where it belongs");
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
    fn an_order_is_final_when_what_follows_from_a_cancel_has_come_too() {
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
    fn names_read_back_as_themselves_and_are_those_of_the_json() {
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse::<OrderStatus>().ok(), Some(status));
            assert_eq!(serde_json::to_value(status).ok(), Some(serde_json::Value::String(status.as_str().to_owned())));
        }
    }
}
