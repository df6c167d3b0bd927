//! `shipment.cancelled` or `shipment.failed` → put the order's items back into stock → `inventory.released`

use std::{marker::PhantomData, sync::Arc};

use orderflow_events::{EventData, InventoryReleased, NewEvent};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store;

/// Releases the stock of orders that will not ship. If an order has none yet, prevents a later reservation.
#[derive(Debug)]
pub struct ReleaseStock<E>(PhantomData<E>);

impl<E> Default for ReleaseStock<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: EventData> TransactionalHandler for ReleaseStock<E> {
    type Event = E;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<E, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        let mut released = store::release(connection, &orders).await?;
        let mut follow = Vec::with_capacity(batch.len());
        for done in batch {
            // An order without a result was released before, or rejected, which causes the refund on its own.
            if let Some(products) = released.remove(&done.event.order_id) {
                follow.push(NewEvent::caused_by(&done.event, &InventoryReleased { products })?);
            }
        }
        Ok(follow)
    }
}
