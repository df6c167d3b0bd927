//! Every event that moves an order's status is handled alike, so one generic handler does all of them but the last of
//! the backward chain.

use std::marker::PhantomData;

use orderflow_events::{
    EventData, InventoryRejected, InventoryReleased, InventoryReserved, NewEvent, OrderCancelled, PaymentCompleted,
    PaymentFailed, ShipmentCancelled, ShipmentCreated, ShipmentFailed,
};
use orderflow_order::store::{fold::fold, moved::Announcer};
use orderflow_service::{
    Subscription,
    handler::{Done, Recorder},
    store::{Connection, StoreError},
};
use uuid::Uuid;

/// Takes an event as a wake-up: whatever the log holds above the order's version is folded into its status, in the
/// log's order. So the status does not depend on the order in which deliveries come.
#[derive(Debug)]
pub struct FoldLog<E> {
    announcer: Announcer,
    event: PhantomData<E>,
}

impl<E> FoldLog<E> {
    /// What moves is announced to whoever watches.
    #[must_use]
    pub fn new(announcer: Announcer) -> Self {
        Self { announcer, event: PhantomData }
    }
}

/// Which subscription of the order service takes this event.
pub trait MovesStatus: EventData {
    /// The subscription.
    const SUBSCRIPTION: Subscription;
}

macro_rules! moves_status {
    ($($event:ty => $subscription:ident;)+) => {
        $(impl MovesStatus for $event {
            const SUBSCRIPTION: Subscription = Subscription::$subscription;
        })+
    };
}

moves_status! {
    PaymentCompleted => OrderPaymentCompleted;
    PaymentFailed => OrderPaymentFailed;
    InventoryReserved => OrderInventoryReserved;
    InventoryRejected => OrderInventoryRejected;
    ShipmentCreated => OrderShipmentCreated;
    ShipmentFailed => OrderShipmentFailed;
    ShipmentCancelled => OrderShipmentCancelled;
    InventoryReleased => OrderInventoryReleased;
    OrderCancelled => OrderOrderCancelled;
}

impl<E: MovesStatus> Recorder for FoldLog<E> {
    const SUBSCRIPTION: Subscription = E::SUBSCRIPTION;
    type Event = E;

    async fn record(&self, connection: &mut Connection, batch: &[Done<E, ()>]) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        fold(connection, &orders).await?;
        Ok(Vec::new())
    }

    fn committed(&self, batch: &[Done<E, ()>]) {
        self.announcer.moved(batch.iter().map(|done| done.event.order_id).collect());
    }
}
