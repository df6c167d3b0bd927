//! `payment.completed` → set the order's items aside → `inventory.reserved` or `inventory.rejected`

use std::sync::Arc;

use orderflow_events::{InventoryRejected, InventoryReserved, NewEvent, PaymentCompleted, ShortItem};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};

use super::store::{self, Decision};

/// Sets the items of paid orders aside.
#[derive(Debug, Default)]
pub struct ReserveStock;

impl TransactionalHandler for ReserveStock {
    type Event = PaymentCompleted;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<PaymentCompleted, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<_> = batch.iter().map(|done| done.event.order_id).collect();
        let decisions = store::reserve(connection, &orders).await?;
        let mut follow = Vec::with_capacity(batch.len());
        for done in batch {
            follow.push(match decisions.get(&done.event.order_id) {
                Some(Decision::Reserved { products }) => {
                    NewEvent::caused_by(&done.event, &InventoryReserved { products: *products })?
                }
                Some(Decision::Rejected { short }) => {
                    let short: Vec<ShortItem> = short.clone();
                    NewEvent::caused_by(&done.event, &InventoryRejected { short })?
                }
                // Decided before, by another event, whose follow-up event is already in the log.
                None => continue,
            });
        }
        Ok(follow)
    }
}
