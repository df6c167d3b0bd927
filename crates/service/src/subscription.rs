//! Who takes which event: one subscription is one queue, and one actor in a worker.

use std::fmt;

use orderflow_events::EventKind;

/// Declares [`Subscription`], so that a new one is a line here and the compiler then asks for its handler.
macro_rules! subscriptions {
    ($($variant:ident => $service:literal, $kind:ident;)+) => {
        /// One service's interest in one kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each name says its service and its event")]
        pub enum Subscription { $($variant,)+ }

        impl Subscription {
            /// Every subscription there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The service whose handler it is.
            #[must_use]
            pub const fn service(self) -> &'static str {
                match self { $(Self::$variant => $service,)+ }
            }

            /// The kind of event.
            #[must_use]
            pub const fn kind(self) -> EventKind {
                match self { $(Self::$variant => EventKind::$kind,)+ }
            }
        }
    };
}

subscriptions! {
    PaymentOrderCreated => "payment", OrderCreated;
    InventoryPaymentCompleted => "inventory", PaymentCompleted;
    ShippingInventoryReserved => "shipping", InventoryReserved;
    EmailOrderCreated => "email", OrderCreated;
    EmailPaymentFailed => "email", PaymentFailed;
    EmailShipmentCreated => "email", ShipmentCreated;
    OrderPaymentCompleted => "order", PaymentCompleted;
    OrderPaymentFailed => "order", PaymentFailed;
    OrderInventoryReserved => "order", InventoryReserved;
    OrderInventoryRejected => "order", InventoryRejected;
    OrderShipmentCreated => "order", ShipmentCreated;
    OrderShipmentFailed => "order", ShipmentFailed;
    ShippingOrderCancelRequested => "shipping", OrderCancelRequested;
    InventoryShipmentCancelled => "inventory", ShipmentCancelled;
    InventoryShipmentFailed => "inventory", ShipmentFailed;
    PaymentInventoryReleased => "payment", InventoryReleased;
    PaymentInventoryRejected => "payment", InventoryRejected;
    OrderShipmentCancelled => "order", ShipmentCancelled;
    OrderInventoryReleased => "order", InventoryReleased;
    OrderPaymentRefunded => "order", PaymentRefunded;
    OrderPaymentVoided => "order", PaymentVoided;
    OrderOrderCancelled => "order", OrderCancelled;
    EmailOrderCancelled => "email", OrderCancelled;
}

impl Subscription {
    /// The name of its queue, which is also its name in the inbox: `payment.order-created`.
    #[must_use]
    pub fn queue(self) -> String {
        format!("{}.{}", self.service(), self.kind().dashed())
    }

    /// The name of the queue for what could not be handled: `payment.order-created.dlq`.
    #[must_use]
    pub fn dead_letter_queue(self) -> String {
        format!("{}.dlq", self.queue())
    }

    /// The subscription whose work queue has this name.
    #[must_use]
    pub fn of_queue(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|subscription| subscription.queue() == name)
    }

    /// The services, each once, in alphabetical order.
    #[must_use]
    pub fn services() -> Vec<&'static str> {
        let mut services: Vec<_> = Self::ALL.iter().map(|subscription| subscription.service()).collect();
        services.sort_unstable();
        services.dedup();
        services
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.queue())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_by_service_and_event() {
        assert_eq!(Subscription::PaymentOrderCreated.queue(), "payment.order-created");
        assert_eq!(Subscription::PaymentOrderCreated.dead_letter_queue(), "payment.order-created.dlq");
    }

    #[test]
    fn every_event_has_a_subscription_so_that_none_is_unroutable() {
        for kind in EventKind::ALL {
            assert!(Subscription::ALL.iter().any(|subscription| subscription.kind() == *kind), "nobody takes {kind}");
        }
    }

    /// An order's version is that of its log, and whoever takes the event brings it there.
    #[test]
    fn the_order_service_takes_every_event_but_those_that_the_front_end_writes_with_the_order() {
        let by_front_end = [EventKind::OrderCreated, EventKind::OrderCancelRequested];
        for kind in EventKind::ALL.iter().filter(|kind| !by_front_end.contains(kind)) {
            let taken = Subscription::ALL.iter().any(|one| one.service() == "order" && one.kind() == *kind);
            assert!(taken, "the order service does not take {kind}: orders would stay behind their logs");
        }
    }

    #[test]
    fn no_two_subscriptions_share_a_queue() {
        let mut queues: Vec<_> = Subscription::ALL.iter().map(|subscription| subscription.queue()).collect();
        queues.sort_unstable();
        queues.dedup();
        assert_eq!(queues.len(), Subscription::ALL.len());
    }
}
