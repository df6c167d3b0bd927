//! The generic handler of all events that change an order's status, except the last of the backward chain.

use std::{marker::PhantomData, sync::Arc};

use orderflow_events::{EventData, NewEvent};
use orderflow_order::store::{fold::fold, order_changes::ChangeNotifier};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::dependencies::OrderDependencies;

/// Uses an event only as a wake-up: folds all log entries above the order's version into its status, in the log's
/// order. So the status does not depend on the order of deliveries.
#[derive(Debug)]
pub struct FoldLog<E> {
    notifier: ChangeNotifier,
    event: PhantomData<E>,
}

impl<E> FoldLog<E> {
    /// Returns a handler that announces changed orders to watchers.
    #[must_use]
    pub fn new(needed: &OrderDependencies) -> Self {
        Self { notifier: needed.notifier.clone(), event: PhantomData }
    }
}

impl<E: EventData> TransactionalHandler for FoldLog<E> {
    type Event = E;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<E, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        fold(connection, &orders).await?;
        Ok(Vec::new())
    }

    fn committed(&self, batch: &[Arc<Done<E, ()>>]) {
        self.notifier.moved(batch.iter().map(|done| done.event.order_id).collect());
    }
}
