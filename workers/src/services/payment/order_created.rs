//! `order.created` → charge the customer → `payment.completed` or `payment.failed`

use std::{collections::HashMap, sync::Arc};

use orderflow_events::{Envelope, NewEvent, OrderCreated, PaymentCompleted, PaymentFailed};
use orderflow_service::{
    Failure,
    call_guard::{CallGuard, Guarded},
    handler::{Done, Handler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{
    keys::{NOTHING, charge_key, payment_id},
    store::{self, Charge, Due},
};
use crate::providers::payment::{ChargeOutcome, ChargeRequest, PaymentProvider};

/// Charges new orders.
pub struct ChargeOrder {
    provider: Guarded<dyn PaymentProvider>,
}

impl ChargeOrder {
    /// Returns a handler that charges with this provider.
    #[must_use]
    pub fn new(provider: Guarded<dyn PaymentProvider>) -> Self {
        Self { provider }
    }
}

/// What to do for a new order.
pub enum Task {
    /// Nothing: its payment is already decided, by an earlier delivery or an earlier cancellation.
    Decided,
    /// Charge the order.
    Charge(Due),
}

/// The outcome of a charge.
#[derive(Debug)]
pub struct Charged {
    outcome: ChargeOutcome,
    due: Due,
}

impl Handler for ChargeOrder {
    type Event = OrderCreated;
    type Input = Task;
    type Effect = Option<Charged>;

    fn guard(&self) -> Option<&Arc<CallGuard>> {
        Some(&self.provider.guard)
    }

    fn calls(&self, task: &Task) -> bool {
        matches!(task, Task::Charge(due) if due.total != 0)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<OrderCreated>>],
    ) -> Result<Vec<Result<Task, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let payments = store::payments(connection, &orders).await?;
        let mut due: HashMap<Uuid, Due> = store::due(connection, &orders).await?;
        let mut task = |order: &Uuid| match due.remove(order) {
            None if payments.contains_key(order) => Ok(Task::Decided),
            None => Err(Failure::no_such_order()),
            Some(_) if payments.contains_key(order) => Ok(Task::Decided),
            Some(due) => Ok(Task::Charge(due)),
        };
        Ok(orders.iter().map(&mut task).collect())
    }

    async fn act(&self, event: &Envelope<OrderCreated>, task: Task) -> Result<Option<Charged>, Failure> {
        let Task::Charge(due) = task else { return Ok(None) };
        if due.total == 0 {
            // Providers refuse charges of zero, and there is nothing to decline.
            return Ok(Some(Charged { outcome: ChargeOutcome::Succeeded { charge_id: NOTHING.to_owned() }, due }));
        }
        let request = ChargeRequest {
            idempotency_key: charge_key(event.order_id),
            reference: event.order_id,
            method: due.method.clone(),
            amount: due.total,
            currency: due.currency.clone(),
        };
        let outcome = self.provider.guard.call(self.provider.charge(request)).await?;
        Ok(Some(Charged { outcome, due }))
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<OrderCreated, Option<Charged>>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let charges: HashMap<Uuid, (&Arc<Envelope<OrderCreated>>, Charge)> = batch
            .iter()
            .filter_map(|done| Some((done.event.order_id, (&done.event, charge(done.effect.as_ref()?)?))))
            .collect();
        let mut sorted: Vec<(Uuid, &Charge)> = charges.iter().map(|(order, (_, charge))| (*order, charge)).collect();
        sorted.sort_unstable_by_key(|(order, _)| *order);
        let recorded = store::record(connection, &sorted).await?;
        // If the payment is already decided, the charge was reversed before it could be recorded. No event follows.
        let fresh = charges.into_iter().filter(|(order, _)| recorded.contains(order));
        fresh.map(|(order, (event, charge))| what_follows(event, order, charge)).collect()
    }
}

/// Returns the row for a charge, or `None` if it was voided: the void writes its own row.
fn charge(charged: &Charged) -> Option<Charge> {
    let Charged { outcome, due } = charged;
    let outcome = match outcome {
        ChargeOutcome::Succeeded { charge_id } => Ok(charge_id.clone()),
        ChargeOutcome::Declined { reason } => Err(reason.clone()),
        ChargeOutcome::Voided => return None,
    };
    Some(Charge { amount: due.total, currency: due.currency.clone(), outcome })
}

fn what_follows(event: &Envelope<OrderCreated>, order: Uuid, charge: Charge) -> Result<NewEvent, StoreError> {
    let Charge { amount, currency, outcome } = charge;
    Ok(match outcome {
        Ok(_) => NewEvent::caused_by(event, &PaymentCompleted { payment_id: payment_id(order), amount, currency })?,
        Err(reason) => NewEvent::caused_by(event, &PaymentFailed { reason })?,
    })
}
