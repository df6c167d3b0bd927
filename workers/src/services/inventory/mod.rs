//! The inventory service: sets stock aside, all items of an order or none, and releases it if the order ends without
//! shipping.

use orderflow_events::{
    EventData as _, InventoryRejected, InventoryReleased, InventoryReserved, ShipmentCancelled, ShipmentFailed,
};
use orderflow_service::Service;

mod audit;
mod payment_completed;
mod release;
mod schema;
pub mod stock;
mod store;
mod trial;

pub use payment_completed::ReserveStock;
pub use release::ReleaseStock;

/// Returns the service.
#[must_use]
pub fn service() -> Service {
    Service::step(
        "inventory",
        "Sets stock aside, all items of an order or none, and releases it if the order ends without shipping.",
    )
    .publishes(&[InventoryReserved::EVENT, InventoryRejected::EVENT, InventoryReleased::EVENT])
    .audit(&[&audit::SUBJECT])
    .writes(trial::ROWS)
    .needs::<()>()
    .on("set aside", |()| ReserveStock)
    .on("release", |()| ReleaseStock::<ShipmentCancelled>::default())
    .on("release", |()| ReleaseStock::<ShipmentFailed>::default())
    .done()
}
