//! `order.cancel-requested` → decide whether to cancel → `shipment.cancelled`, or nothing

use std::sync::Arc;

use orderflow_events::{NewEvent, OrderCancelRequested, ShipmentCancelled};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store;

/// Decides on requests to cancel. A request is granted if it arrives before the parcel is booked, whatever the order's
/// status. Otherwise the order ships, or the carrier's refusal ends it.
#[derive(Debug, Default)]
pub struct JudgeCancel;

impl TransactionalHandler for JudgeCancel {
    type Event = OrderCancelRequested;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<OrderCancelRequested, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        let mut cancelled = store::cancel(connection, &orders).await?;
        let mut follow = Vec::new();
        for done in batch {
            // Two requests for one order in a batch cause only one event.
            if cancelled.remove(&done.event.order_id) {
                follow.push(NewEvent::caused_by(&done.event, &ShipmentCancelled {})?);
            }
        }
        Ok(follow)
    }
}
