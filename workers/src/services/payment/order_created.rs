//! `order.created` → charge the customer → `payment.completed` or `payment.failed`

use std::{collections::HashMap, sync::Arc};

use orderflow::{
    broker::Subscription,
    events::{Envelope, NewEvent, OrderCreated, PaymentCompleted, PaymentFailed},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store::{self, Due, Payment};
use crate::{
    handler::{Done, Failure, Handler},
    providers::{
        Line, Reached,
        payment::{ChargeOutcome, ChargeRequest, PaymentProvider},
    },
};

/// Charges new orders.
pub struct ChargeOrder {
    provider: Reached<dyn PaymentProvider>,
}

impl ChargeOrder {
    /// Charges by this provider.
    #[must_use]
    pub fn new(provider: Reached<dyn PaymentProvider>) -> Self {
        Self { provider }
    }
}

/// What a charge came to.
#[derive(Debug)]
pub struct Charged {
    outcome: ChargeOutcome,
    due: Due,
}

impl Handler for ChargeOrder {
    const SUBSCRIPTION: Subscription = Subscription::PaymentOrderCreated;
    type Event = OrderCreated;
    type Input = Due;
    type Effect = Charged;

    fn line(&self) -> Option<&Arc<Line>> {
        Some(&self.provider.line)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Envelope<OrderCreated>],
    ) -> Result<Vec<Result<Due, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let due: HashMap<Uuid, Due> = store::due(connection, &orders).await?;
        let of = |event: &Envelope<OrderCreated>| due.get(&event.order_id).cloned();
        Ok(batch.iter().map(|event| of(event).ok_or_else(|| Failure::reject("there is no such order"))).collect())
    }

    async fn act(&self, event: &Envelope<OrderCreated>, due: Due) -> Result<Charged, Failure> {
        let request = ChargeRequest {
            idempotency_key: event.id.to_string(),
            reference: event.order_id,
            method: due.method.clone(),
            amount: due.total,
            currency: due.currency.clone(),
        };
        let outcome = self.provider.line.call(self.provider.charge(request)).await?;
        Ok(Charged { outcome, due })
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Done<OrderCreated, Charged>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let payments: Vec<Payment> = batch.iter().map(payment).collect();
        let recorded = store::record(connection, &payments).await?;
        let mut follow = Vec::with_capacity(batch.len());
        for (done, payment) in batch.iter().zip(payments) {
            // An order that has a payment already is paid by that one; what followed from it is in the log.
            if recorded.contains(&payment.payment_id) {
                follow.push(what_follows(done, payment)?);
            }
        }
        Ok(follow)
    }
}

/// The row for a charge. Our own id for it follows from the event, and so is the same however often this runs.
fn payment(done: &Done<OrderCreated, Charged>) -> Payment {
    let Charged { outcome, due } = &done.effect;
    Payment {
        order_id: done.event.order_id,
        payment_id: format!("pay_{}", done.event.id.simple()),
        amount: due.total,
        currency: due.currency.clone(),
        charge: match outcome {
            ChargeOutcome::Succeeded { charge_id } => Ok(charge_id.clone()),
            ChargeOutcome::Declined { reason } => Err(reason.clone()),
        },
    }
}

fn what_follows(done: &Done<OrderCreated, Charged>, payment: Payment) -> Result<NewEvent, StoreError> {
    let Payment { payment_id, amount, currency, charge, .. } = payment;
    Ok(match charge {
        Ok(_) => NewEvent::caused_by(&done.event, &PaymentCompleted { payment_id, amount, currency })?,
        Err(reason) => NewEvent::caused_by(&done.event, &PaymentFailed { reason })?,
    })
}
