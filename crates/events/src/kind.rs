//! The closed list of what can happen to an order.

use std::{fmt, str::FromStr};

/// Declares [`EventKind`] so that a kind's name is written once and every list of kinds is complete by construction.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident => $routing_key:literal, $cloud_type:literal;)+) => {
        /// What happened. The registry of handlers, the topology and the order's state machine are matched over it exhaustively.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $variant,)+ }

        impl EventKind {
            /// Every kind, in the order in which an order normally meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The routing key on the exchange `orders.events`, which is also the name shown to people: `payment.completed`.
            #[must_use]
            pub const fn routing_key(self) -> &'static str {
                match self { $(Self::$variant => $routing_key,)+ }
            }

            /// The CloudEvents `type`, by which consumers decode: `orders.payment-completed.v1`.
            #[must_use]
            pub const fn cloud_type(self) -> &'static str {
                match self { $(Self::$variant => $cloud_type,)+ }
            }
        }
    };
}

event_kinds! {
    /// The front end accepted an order.
    OrderCreated => "order.created", "orders.order-created.v1";
    /// The customer was charged.
    PaymentCompleted => "payment.completed", "orders.payment-completed.v1";
    /// The payment was declined for good.
    PaymentFailed => "payment.failed", "orders.payment-failed.v1";
    /// Every item of the order is set aside.
    InventoryReserved => "inventory.reserved", "orders.inventory-reserved.v1";
    /// At least one item could not be set aside, so none was.
    InventoryRejected => "inventory.rejected", "orders.inventory-rejected.v1";
    /// The carrier took the parcel.
    ShipmentCreated => "shipment.created", "orders.shipment-created.v1";
    /// The carrier refused the parcel for good.
    ShipmentFailed => "shipment.failed", "orders.shipment-failed.v1";
    /// Someone asked for the order to be cancelled.
    OrderCancelRequested => "order.cancel-requested", "orders.order-cancel-requested.v1";
    /// The order will not ship, because the request to cancel it came in time.
    ShipmentCancelled => "shipment.cancelled", "orders.shipment-cancelled.v1";
    /// Nothing is set aside for the order any more.
    InventoryReleased => "inventory.released", "orders.inventory-released.v1";
    /// The whole charge was given back.
    PaymentRefunded => "payment.refunded", "orders.payment-refunded.v1";
    /// Nothing was charged, and nothing will be.
    PaymentVoided => "payment.voided", "orders.payment-voided.v1";
    /// The order has ended without shipping, and everything is undone.
    OrderCancelled => "order.cancelled", "orders.order-cancelled.v1";
}

impl EventKind {
    /// The kind whose CloudEvents `type` this is.
    #[must_use]
    pub fn from_cloud_type(cloud_type: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.cloud_type() == cloud_type)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.routing_key())
    }
}

/// A routing key that belongs to no [`EventKind`].
#[derive(Debug, thiserror::Error)]
#[error("no event is called {0:?}")]
pub struct UnknownEvent(pub String);

impl FromStr for EventKind {
    type Err = UnknownEvent;

    fn from_str(routing_key: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.routing_key() == routing_key)
            .ok_or_else(|| UnknownEvent(routing_key.to_owned()))
    }
}
