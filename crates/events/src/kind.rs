//! The closed list of this version's event kinds.

use std::{fmt, str::FromStr};

/// Declares [`EventKind`] so that a kind's name is written once and every list of kinds is complete by construction.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident => $routing_key:literal, $cloud_type:literal;)+) => {
        /// The kind of an event. The handlers, the topology and the order's state machine match it exhaustively.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $variant,)+ }

        impl EventKind {
            /// Every kind, in the usual order in an order's history.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the routing key on the exchange `orders.events`, which is also the displayed name:
            /// `payment.completed`.
            #[must_use]
            pub const fn routing_key(self) -> &'static str {
                match self { $(Self::$variant => $routing_key,)+ }
            }

            /// Returns the CloudEvents `type`, which consumers decode by: `orders.payment-completed.v1`.
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
    /// The payment was permanently declined.
    PaymentFailed => "payment.failed", "orders.payment-failed.v1";
    /// Every item of the order is reserved.
    InventoryReserved => "inventory.reserved", "orders.inventory-reserved.v1";
    /// At least one item could not be reserved, so none was.
    InventoryRejected => "inventory.rejected", "orders.inventory-rejected.v1";
    /// The carrier accepted the parcel.
    ShipmentCreated => "shipment.created", "orders.shipment-created.v1";
    /// The carrier permanently refused the parcel.
    ShipmentFailed => "shipment.failed", "orders.shipment-failed.v1";
    /// A cancellation of the order was requested.
    OrderCancelRequested => "order.cancel-requested", "orders.order-cancel-requested.v1";
    /// The order will not ship, because the cancellation request arrived in time.
    ShipmentCancelled => "shipment.cancelled", "orders.shipment-cancelled.v1";
    /// Nothing is reserved for the order any more.
    InventoryReleased => "inventory.released", "orders.inventory-released.v1";
    /// The whole charge was refunded.
    PaymentRefunded => "payment.refunded", "orders.payment-refunded.v1";
    /// Nothing was charged, and nothing will be.
    PaymentVoided => "payment.voided", "orders.payment-voided.v1";
    /// The order has ended without shipping, and everything is compensated.
    OrderCancelled => "order.cancelled", "orders.order-cancelled.v1";
}

impl EventKind {
    /// Returns the kind with this CloudEvents `type`.
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

/// The error for a routing key that does not belong to an [`EventKind`].
#[derive(Debug, thiserror::Error)]
#[error("unknown event {0:?}")]
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
