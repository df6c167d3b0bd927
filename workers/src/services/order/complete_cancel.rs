//! `payment.refunded` or `payment.voided` → everything is undone → `order.cancelled`

use std::{marker::PhantomData, sync::Arc};

use orderflow_events::{EventData, NewEvent, OrderCancelled, PaymentRefunded, PaymentVoided, Refunded};
use orderflow_order::{
    domain::OrderStatus,
    store::{fold::fold, order_changes::ChangeNotifier},
};
use orderflow_service::{
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{dependencies::OrderDependencies, store};

/// Completes a cancellation, as the last step of the backward chain: publishes `order.cancelled`.
#[derive(Debug)]
pub struct CompleteCancel<E> {
    notifier: ChangeNotifier,
    event: PhantomData<E>,
}

impl<E> CompleteCancel<E> {
    /// Returns a handler that announces changed orders to watchers.
    #[must_use]
    pub fn new(needed: &OrderDependencies) -> Self {
        Self { notifier: needed.notifier.clone(), event: PhantomData }
    }
}

/// An event that reports a reversed payment: the customer is not, or no longer, charged.
pub trait Reversed: EventData {
    /// Returns the refund, if there was one.
    fn refunded(&self) -> Option<Refunded>;
}

impl Reversed for PaymentRefunded {
    /// Returns `None` for an order that cost nothing: its customer was not charged and expects no refund.
    fn refunded(&self) -> Option<Refunded> {
        (self.amount != 0).then(|| Refunded { amount: self.amount, currency: self.currency.clone() })
    }
}

impl Reversed for PaymentVoided {
    fn refunded(&self) -> Option<Refunded> {
        None
    }
}

impl<E: Reversed> TransactionalHandler for CompleteCancel<E> {
    type Event = E;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<E, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        let statuses = fold(connection, &orders).await?;
        let reasons = store::reasons(connection, &orders).await?;
        let mut follow = Vec::with_capacity(batch.len());
        for done in batch {
            let order = &done.event.order_id;
            // An order whose card was declined has already ended, and its customer knows.
            if statuses.get(order) != Some(&OrderStatus::Cancelling) {
                continue;
            }
            let reason = reasons.get(order).ok_or_else(|| {
                StoreError::Corrupt(format!("order {order} is cancelling, but its log has no reason"))
            })?;
            let data = OrderCancelled { reason: (*reason).to_owned(), refunded: done.event.data.refunded() };
            follow.push(NewEvent::caused_by(&done.event, &data)?);
        }
        Ok(follow)
    }

    fn committed(&self, batch: &[Arc<Done<E, ()>>]) {
        self.notifier.moved(batch.iter().map(|done| done.event.order_id).collect());
    }
}
