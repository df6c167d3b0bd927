//! The payment service: charges each order once, and gives the money back when the order ends without shipping.

mod audit;
mod dependencies;
mod intents;
mod order_created;
mod reverse;
mod schema;
mod settings;
mod store;
mod trial;

use orderflow_events::{EventKind, InventoryRejected, InventoryReleased};
use orderflow_service::{
    Service,
    fault::{self, Safeguard},
    service::Handlers,
};
use uuid::Uuid;

pub use dependencies::PaymentDependencies;
pub use intents::Intents;
pub use order_created::{ChargeOrder, Charged, Task};
pub use reverse::{Reversal, ReversePayment, ToReverse};
pub use store::{Due, Payment};

/// Returns the service.
#[must_use]
pub fn service() -> Service {
    handlers().done()
}

/// Returns the service before it is complete, so that a test can replace a handler.
#[must_use]
pub fn handlers() -> Handlers<PaymentDependencies> {
    Service::step("payment", "Charges each order once, and gives the money back when it ends without shipping.")
        .publishes(&[
            EventKind::PaymentCompleted,
            EventKind::PaymentFailed,
            EventKind::PaymentRefunded,
            EventKind::PaymentVoided,
        ])
        .audit(&[&audit::SUBJECT])
        .writes(trial::ROWS)
        .needs::<PaymentDependencies>()
        .on("charge", |needed| ChargeOrder::new(needed.provider.clone()))
        .on("give back, or never charge", |needed| ReversePayment::<InventoryReleased>::new(needed.provider.clone()))
        .on("give back", |needed| ReversePayment::<InventoryRejected>::new(needed.provider.clone()))
}

/// The provider's idempotency key for an order's charge. An order has one charge, so the key follows from the order:
/// whatever asks for it, however often, asks for the same one; and whoever is to give it back can name it.
fn charge_key(order: Uuid) -> String {
    if fault::without(Safeguard::IdempotencyKey) {
        return format!("charge-{}", Uuid::now_v7());
    }
    format!("charge-{order}")
}

/// The provider's idempotency key for the refund of an order's charge.
fn refund_key(order: Uuid) -> String {
    format!("refund-{order}")
}

/// Our own id of an order's payment.
fn payment_id(order: Uuid) -> String {
    format!("pay_{}", order.simple())
}

/// What is written down as charge and as refund of an order that costs nothing: nobody was asked for either.
const NOTHING: &str = "nothing";
