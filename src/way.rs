//! The queues that an order still has to pass, and their current state. Customers' pages and `orderflow why` both read
//! this module, so that they agree.

use std::collections::HashMap;

use orderflow_events::EventKind;
use orderflow_order::domain::OrderStatus;
use orderflow_service::{
    Subscription,
    broker::{BrokerCheck, NotReady, QueueState},
    store::{
        ANSWER_WITHIN, Connection, Database, StoreError,
        pace::{self, Pace},
    },
};

/// The first queue of an order.
pub const PAYMENT_ORDER_CREATED: Subscription = Subscription::new("payment", EventKind::OrderCreated);
const INVENTORY_PAYMENT_COMPLETED: Subscription = Subscription::new("inventory", EventKind::PaymentCompleted);
/// The queue of the service that calls the carrier.
pub const SHIPPING_INVENTORY_RESERVED: Subscription = Subscription::new("shipping", EventKind::InventoryReserved);
const ORDER_SHIPMENT_CREATED: Subscription = Subscription::new("order", EventKind::ShipmentCreated);
const SHIPPING_ORDER_CANCEL_REQUESTED: Subscription = Subscription::new("shipping", EventKind::OrderCancelRequested);
const INVENTORY_SHIPMENT_CANCELLED: Subscription = Subscription::new("inventory", EventKind::ShipmentCancelled);
const INVENTORY_SHIPMENT_FAILED: Subscription = Subscription::new("inventory", EventKind::ShipmentFailed);
const PAYMENT_INVENTORY_RELEASED: Subscription = Subscription::new("payment", EventKind::InventoryReleased);
const PAYMENT_INVENTORY_REJECTED: Subscription = Subscription::new("payment", EventKind::InventoryRejected);
const ORDER_PAYMENT_REFUNDED: Subscription = Subscription::new("order", EventKind::PaymentRefunded);
const ORDER_PAYMENT_VOIDED: Subscription = Subscription::new("order", EventKind::PaymentVoided);
const ORDER_ORDER_CANCELLED: Subscription = Subscription::new("order", EventKind::OrderCancelled);

/// The queues that an order's status waits for, forward and backward.
pub const WATCHED: &[Subscription] = &[
    PAYMENT_ORDER_CREATED,
    INVENTORY_PAYMENT_COMPLETED,
    SHIPPING_INVENTORY_RESERVED,
    ORDER_SHIPMENT_CREATED,
    SHIPPING_ORDER_CANCEL_REQUESTED,
    INVENTORY_SHIPMENT_CANCELLED,
    INVENTORY_SHIPMENT_FAILED,
    PAYMENT_INVENTORY_RELEASED,
    PAYMENT_INVENTORY_REJECTED,
    ORDER_PAYMENT_REFUNDED,
    ORDER_PAYMENT_VOIDED,
    ORDER_ORDER_CANCELLED,
];

/// One queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Messages waiting in the broker.
    pub ready: u32,
    /// Whether it has a consumer.
    pub is_worked: bool,
    /// Events a second with all slots in use; `None` if not measured.
    pub capacity: Option<f64>,
    /// The mean processing time of an event, in seconds.
    pub processing: Option<f64>,
}

/// Why the state of the queues is unknown.
#[derive(Debug, thiserror::Error)]
pub enum NotKnown {
    /// The database, which has the rates, could not be read.
    #[error(transparent)]
    Database(StoreError),
    /// The broker, which has the message and consumer counts, could not be read.
    #[error(transparent)]
    Broker(NotReady),
}

/// Returns the current state of these queues; omits queues that do not exist.
///
/// # Errors
/// See [`NotKnown`].
pub async fn queues(
    database: &Database,
    check: &BrokerCheck,
    of: &[Subscription],
) -> Result<HashMap<Subscription, Queue>, NotKnown> {
    let reading = async |connection: &mut Connection| pace::recent(connection).await;
    let paces = database.run(ANSWER_WITHIN, reading).await.map_err(NotKnown::Database)?;
    let paces: Vec<Pace> = paces.into_iter().map(|measured| measured.pace).collect();
    let names: Vec<String> = of.iter().map(|one| one.queue()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let states = check.inspect_queues(&names).await.map_err(NotKnown::Broker)?;
    let queue = |(subscription, name): (&Subscription, &&str)| {
        Some((*subscription, Queue::new(*states.get(name)?, &paces, *subscription)))
    };
    Ok(of.iter().zip(&names).filter_map(queue).collect())
}

impl Queue {
    fn new(state: QueueState, paces: &[Pace], subscription: Subscription) -> Self {
        let name = subscription.queue();
        let working = paces.iter().filter(|pace| pace.queue == name && pace.slots > 0);
        // Slots ÷ processing time is the throughput at saturation, see `capacity`. A time of zero is not a measurement.
        let measured = working
            .filter_map(|pace| Some((f64::from(pace.slots), pace.processing_seconds.filter(|time| *time > 0.0)?)));
        let (capacity, slots, weighted) = measured.fold((0.0, 0.0, 0.0), |(capacity, all, weighted), (slots, time)| {
            (capacity + slots / time, all + slots, weighted + slots * time)
        });
        Self {
            ready: state.ready,
            is_worked: state.consumers > 0,
            capacity: (capacity > 0.0).then_some(capacity),
            processing: (slots > 0.0).then(|| weighted / slots),
        }
    }
}

/// Returns the queues that an order still has to pass.
///
/// Several services consume an event at the same time. The path names those that decide when the next step happens, and
/// ends with the one that changes the status. For an order that is being cancelled, see [`undoing`].
#[must_use]
pub fn path(status: OrderStatus, cancel_requested: bool) -> &'static [Subscription] {
    const FORWARD: &[Subscription] =
        &[PAYMENT_ORDER_CREATED, INVENTORY_PAYMENT_COMPLETED, SHIPPING_INVENTORY_RESERVED, ORDER_SHIPMENT_CREATED];
    const BACKWARD: &[Subscription] = &[
        SHIPPING_ORDER_CANCEL_REQUESTED,
        INVENTORY_SHIPMENT_CANCELLED,
        PAYMENT_INVENTORY_RELEASED,
        ORDER_PAYMENT_REFUNDED,
        ORDER_ORDER_CANCELLED,
    ];
    const NONE: &[Subscription] = &[];
    let (path, passed) = match status {
        OrderStatus::Pending | OrderStatus::Paid | OrderStatus::Reserved if cancel_requested => (BACKWARD, 0),
        OrderStatus::Pending => (FORWARD, 0),
        OrderStatus::Paid => (FORWARD, 1),
        OrderStatus::Reserved => (FORWARD, 2),
        _ => (NONE, 0),
    };
    path.get(passed..).unwrap_or_default()
}

/// Returns the queues that a `cancelling` order still has to pass. They depend on how far it had got before it was
/// cancelled, that is, on the events that have `happened`.
#[must_use]
pub fn undoing(happened: impl Fn(EventKind) -> bool) -> Vec<Subscription> {
    if happened(EventKind::PaymentRefunded) || happened(EventKind::PaymentVoided) {
        return vec![ORDER_ORDER_CANCELLED];
    }
    let reversed = if happened(EventKind::PaymentCompleted) { ORDER_PAYMENT_REFUNDED } else { ORDER_PAYMENT_VOIDED };
    let first: &[Subscription] = if happened(EventKind::InventoryReleased) {
        &[PAYMENT_INVENTORY_RELEASED]
    } else if happened(EventKind::InventoryRejected) {
        &[PAYMENT_INVENTORY_REJECTED]
    } else if happened(EventKind::ShipmentFailed) {
        &[INVENTORY_SHIPMENT_FAILED, PAYMENT_INVENTORY_RELEASED]
    } else {
        &[INVENTORY_SHIPMENT_CANCELLED, PAYMENT_INVENTORY_RELEASED]
    };
    [first, &[reversed, ORDER_ORDER_CANCELLED]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(slots: i32, processing_seconds: Option<f64>) -> Pace {
        Pace {
            queue: "payment.order-created".to_owned(),
            slots,
            in_hand: 0,
            events_per_second: 1.0,
            failures_per_second: 0.0,
            processing_seconds,
            lag_seconds: None,
        }
    }

    #[test]
    fn capacity_adds_up_processes_and_ignores_paused_ones() {
        let paces = [pace(100, Some(2.0)), pace(300, Some(1.0)), pace(0, Some(9.0)), pace(10, None)];
        let queue = Queue::new(QueueState { ready: 7, consumers: 2 }, &paces, PAYMENT_ORDER_CREATED);
        assert_eq!(queue, Queue { ready: 7, is_worked: true, capacity: Some(350.0), processing: Some(1.25) });
        let other = Queue::new(QueueState { ready: 0, consumers: 0 }, &paces, ORDER_SHIPMENT_CREATED);
        assert_eq!(other, Queue { ready: 0, is_worked: false, capacity: None, processing: None });
    }

    #[test]
    fn watched_queues_belong_to_step_services() {
        let steps = crate::services::roster().steps();
        assert!(WATCHED.iter().all(|one| steps.contains(&one.queue())), "{WATCHED:?}");
    }

    #[test]
    fn requested_cancel_takes_the_backward_path() {
        assert_eq!(path(OrderStatus::Paid, true).first(), Some(&SHIPPING_ORDER_CANCEL_REQUESTED));
        assert!(path(OrderStatus::Shipped, false).is_empty());
    }

    fn undone_after(events: &[&str]) -> Vec<String> {
        let queues = undoing(|kind| events.contains(&kind.routing_key()));
        queues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn undoing_starts_where_the_order_turned_back() {
        let paid = ["order.created", "payment.completed"];
        let end = ["order.payment-refunded", "order.order-cancelled"];
        let after = |events: &[&str]| undone_after(&[&paid, events].concat());
        assert_eq!(after(&["inventory.rejected"]), [&["payment.inventory-rejected"], &end[..]].concat());
        let refused = ["inventory.shipment-failed", "payment.inventory-released"];
        assert_eq!(after(&["inventory.reserved", "shipment.failed"]), [&refused, &end[..]].concat());
        let stopped = ["inventory.shipment-cancelled", "payment.inventory-released"];
        assert_eq!(after(&["shipment.cancelled"]), [&stopped, &end[..]].concat());
        assert_eq!(
            after(&["inventory.reserved", "shipment.failed", "inventory.released"]),
            [&["payment.inventory-released"], &end[..]].concat()
        );
        assert_eq!(after(&["inventory.rejected", "payment.refunded"]), ["order.order-cancelled"]);
        assert_eq!(
            undone_after(&["order.created", "shipment.cancelled"]),
            [&stopped[..], &["order.payment-voided", "order.order-cancelled"]].concat()
        );
    }
}
