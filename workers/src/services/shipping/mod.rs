//! The shipping service: hands each order to the carrier once, and decides whether it may still be cancelled.

use orderflow_events::{EventData as _, ShipmentCancelled, ShipmentCreated, ShipmentFailed};
use orderflow_service::Service;

mod audit;
mod dependencies;
mod inventory_reserved;
mod order_cancel_requested;
mod schema;
mod settings;
mod store;
mod trial;

pub use inventory_reserved::{ShipOrder, Task};
pub use order_cancel_requested::JudgeCancel;
pub use store::Consignment;

use dependencies::ShippingDependencies;

/// Returns the service.
#[must_use]
pub fn service() -> Service {
    Service::step("shipping", "Hands each order to the carrier once, and decides whether it may still be cancelled.")
        .publishes(&[ShipmentCreated::EVENT, ShipmentFailed::EVENT, ShipmentCancelled::EVENT])
        .audit(&[&audit::SUBJECT])
        .writes(trial::ROWS)
        .needs::<ShippingDependencies>()
        .on("hand over", |needed| ShipOrder::new(needed.carrier.clone()))
        .on("decide whether to cancel", |_| JudgeCancel)
        .done()
}
