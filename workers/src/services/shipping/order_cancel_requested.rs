//! `order.cancel-requested` → may it still be cancelled? → `shipment.cancelled`, or nothing

use std::sync::Arc;

use orderflow_events::{NewEvent, OrderCancelRequested, ShipmentCancelled};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store;

/// Judges requests to cancel: one that comes before the parcel is handed over is granted, at whatever stage the order
/// is. Otherwise the order ships, or the carrier's refusal ends it.
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
            // Two requests for one order in a batch are answered by one event.
            if cancelled.remove(&done.event.order_id) {
                follow.push(NewEvent::caused_by(&done.event, &ShipmentCancelled {})?);
            }
        }
        Ok(follow)
    }
}
