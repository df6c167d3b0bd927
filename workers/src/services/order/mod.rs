//! The order service: keeps each order's status in step with the event log, and completes cancellations.

use orderflow_events::{
    EventData as _, InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, OtherEvent,
    PaymentCompleted, PaymentFailed, PaymentRefunded, PaymentVoided, ShipmentCancelled, ShipmentCreated,
    ShipmentFailed,
};
use orderflow_service::Service;

mod audit;
mod complete_cancel;
mod dependencies;
mod fold;
mod store;

use complete_cancel::CompleteCancel;
use dependencies::OrderDependencies;
use fold::FoldLog;

/// Returns the service.
#[must_use]
pub fn service() -> Service {
    Service::step("order", "Keeps each order's status in step with the event log, and completes cancellations.")
        .publishes(&[OrderCancelled::EVENT])
        .audit(&[&audit::SUBJECT])
        .needs::<OrderDependencies>()
        .on("`paid`", FoldLog::<PaymentCompleted>::new)
        .on("`payment_failed`", FoldLog::<PaymentFailed>::new)
        .on("`reserved`", FoldLog::<InventoryReserved>::new)
        .on("`cancelling`", FoldLog::<InventoryRejected>::new)
        .on("`shipped`", FoldLog::<ShipmentCreated>::new)
        .on("`cancelling`", FoldLog::<ShipmentFailed>::new)
        .on("`cancelling`", FoldLog::<ShipmentCancelled>::new)
        .on("keeps up", FoldLog::<InventoryReleased>::new)
        .on("publishes `order.cancelled`", CompleteCancel::<PaymentRefunded>::new)
        .on("publishes `order.cancelled`", CompleteCancel::<PaymentVoided>::new)
        .on("`cancelled`", FoldLog::<OrderCancelled>::new)
        .on("keeps up", FoldLog::<OtherEvent>::new)
        .done()
}
