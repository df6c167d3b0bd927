//! `shipment.cancelled` or `shipment.failed` → put the order's items back into stock → `inventory.released`

use std::marker::PhantomData;

use orderflow_events::{EventData, InventoryReleased, NewEvent, ShipmentCancelled, ShipmentFailed};
use orderflow_service::{
    Subscription,
    handler::{Done, Recorder},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store;

/// Lets go of what was set aside for orders that will not ship. Where nothing was yet, nothing will be.
#[derive(Debug)]
pub struct ReleaseStock<E>(PhantomData<E>);

impl<E> Default for ReleaseStock<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// An event that says that an order will not ship.
pub trait WillNotShip: EventData {
    /// The inventory service's subscription to it.
    const SUBSCRIPTION: Subscription;
}

impl WillNotShip for ShipmentCancelled {
    const SUBSCRIPTION: Subscription = Subscription::InventoryShipmentCancelled;
}

impl WillNotShip for ShipmentFailed {
    const SUBSCRIPTION: Subscription = Subscription::InventoryShipmentFailed;
}

impl<E: WillNotShip> Recorder for ReleaseStock<E> {
    const SUBSCRIPTION: Subscription = E::SUBSCRIPTION;
    type Event = E;

    async fn record(&self, connection: &mut Connection, batch: &[Done<E, ()>]) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        let mut released = store::release(connection, &orders).await?;
        let mut follow = Vec::with_capacity(batch.len());
        for done in batch {
            // An order without an answer was rejected, which sends the money back by itself, or released before.
            if let Some(products) = released.remove(&done.event.order_id) {
                follow.push(NewEvent::caused_by(&done.event, &InventoryReleased { products })?);
            }
        }
        Ok(follow)
    }
}
