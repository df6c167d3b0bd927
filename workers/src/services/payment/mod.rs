//! The payment service: charges each order once, and refunds it if it ends without shipping.

mod audit;
mod dependencies;
mod intents;
mod keys;
mod order_created;
mod reverse;
mod schema;
mod settings;
mod store;
mod trial;

use orderflow_events::{
    EventData as _, InventoryRejected, InventoryReleased, PaymentCompleted, PaymentFailed, PaymentRefunded,
    PaymentVoided,
};
use orderflow_service::{Service, service::Handlers};

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
    Service::step("payment", "Charges each order once, and refunds it if it ends without shipping.")
        .publishes(&[PaymentCompleted::EVENT, PaymentFailed::EVENT, PaymentRefunded::EVENT, PaymentVoided::EVENT])
        .audit(&[&audit::SUBJECT])
        .writes(trial::ROWS)
        .needs::<PaymentDependencies>()
        .on("charge", |needed| ChargeOrder::new(needed.provider.clone()))
        .on("refund or void", |needed| ReversePayment::<InventoryReleased>::new(needed.provider.clone()))
        .on("refund", |needed| ReversePayment::<InventoryRejected>::new(needed.provider.clone()))
}
