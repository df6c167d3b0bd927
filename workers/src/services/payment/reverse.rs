//! `inventory.released` or `inventory.rejected` → give the money back → `payment.refunded` or `payment.voided`

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
    sync::Arc,
};

use orderflow::{
    broker::Subscription,
    events::{Envelope, EventData, InventoryRejected, InventoryReleased, NewEvent, PaymentRefunded, PaymentVoided},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{
    charge_key, payment_id, refund_key,
    store::{self, Due, Payment, Reversing},
};
use crate::{
    handler::{Done, Failure, Handler},
    providers::{
        Line, Reached,
        payment::{PaymentProvider, RefundRequest, VoidOutcome, VoidRequest},
    },
};

/// Gives back what orders that do not ship were charged; keeps those from being charged that were not yet.
pub struct ReversePayment<E> {
    provider: Reached<dyn PaymentProvider>,
    event: PhantomData<fn() -> E>,
}

impl<E> ReversePayment<E> {
    /// Refunds by this provider.
    #[must_use]
    pub fn new(provider: Reached<dyn PaymentProvider>) -> Self {
        Self { provider, event: PhantomData }
    }
}

/// An event that says that an order does not ship and that nothing is set aside for it.
pub trait EndsUnshipped: EventData {
    /// The payment service's subscription to it.
    const SUBSCRIPTION: Subscription;
}

impl EndsUnshipped for InventoryReleased {
    const SUBSCRIPTION: Subscription = Subscription::PaymentInventoryReleased;
}

impl EndsUnshipped for InventoryRejected {
    const SUBSCRIPTION: Subscription = Subscription::PaymentInventoryRejected;
}

/// What is known of a payment before the provider is asked.
#[derive(Debug)]
pub struct ToReverse {
    due: Due,
    payment: Option<Payment>,
}

/// What became of a payment.
#[derive(Debug)]
pub struct Reversal(Option<Reversing>);

impl<E: EndsUnshipped> Handler for ReversePayment<E> {
    const SUBSCRIPTION: Subscription = E::SUBSCRIPTION;
    type Event = E;
    type Input = ToReverse;
    type Effect = Reversal;

    fn line(&self) -> Option<&Arc<Line>> {
        Some(&self.provider.line)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Envelope<E>],
    ) -> Result<Vec<Result<ToReverse, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let payments: HashMap<Uuid, Payment> = store::payments(connection, &orders).await?;
        let due: HashMap<Uuid, Due> = store::due(connection, &orders).await?;
        let to_reverse = |order: &Uuid| {
            let due = due.get(order).cloned().ok_or_else(Failure::no_such_order)?;
            Ok(ToReverse { due, payment: payments.get(order).cloned() })
        };
        Ok(orders.iter().map(to_reverse).collect())
    }

    async fn act(&self, event: &Envelope<E>, to_reverse: ToReverse) -> Result<Reversal, Failure> {
        let ToReverse { due, payment } = to_reverse;
        let order = event.order_id;
        let (charge_id, amount, currency) = match payment {
            Some(Payment::Reversed) => return Ok(Reversal(None)),
            Some(Payment::Declined) => (None, due.total, due.currency),
            Some(Payment::Succeeded { charge_id, amount, currency }) => (Some(charge_id), amount, currency),
            // Not charged as far as we know. The charge may be on its way to the provider at this moment, so it is the
            // provider who settles that.
            None => (self.void(order, &due).await?, due.total, due.currency),
        };
        let Some(charge_id) = charge_id else {
            return Ok(Reversal(Some(Reversing { amount, currency, refund: None })));
        };
        let request = RefundRequest {
            idempotency_key: refund_key(order),
            charge_id: charge_id.clone(),
            amount,
            currency: currency.clone(),
        };
        let refund_id = self.provider.line.call(self.provider.refund(request)).await?;
        Ok(Reversal(Some(Reversing { amount, currency, refund: Some((charge_id, refund_id)) })))
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Done<E, Reversal>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        // One an order, in the order of their ids, which is how rows are locked everywhere.
        let mut first = BTreeMap::new();
        for done in batch {
            if let Reversal(Some(reversing)) = &done.effect {
                first.entry(done.event.order_id).or_insert((&done.event, reversing));
            }
        }
        let reversals: Vec<_> = first.iter().map(|(order, (_, reversing))| (*order, *reversing)).collect();
        let fresh = store::reverse(connection, &reversals).await?;
        let follow = first.iter().filter(|(order, _)| fresh.contains(order));
        follow.map(|(order, (event, reversing))| what_follows(event, *order, reversing)).collect()
    }
}

impl<E> ReversePayment<E> {
    /// The provider's name for the order's charge if it has happened; if not, it never will.
    async fn void(&self, order: Uuid, due: &Due) -> Result<Option<String>, Failure> {
        let request = VoidRequest {
            idempotency_key: charge_key(order),
            reference: order,
            amount: due.total,
            currency: due.currency.clone(),
        };
        Ok(match self.provider.line.call(self.provider.void(request)).await? {
            VoidOutcome::NotCharged => None,
            VoidOutcome::Charged { charge_id } => Some(charge_id),
        })
    }
}

fn what_follows<E>(event: &Envelope<E>, order: Uuid, reversing: &Reversing) -> Result<NewEvent, StoreError> {
    let Reversing { amount, currency, refund } = reversing.clone();
    Ok(match refund {
        Some(_) => NewEvent::caused_by(event, &PaymentRefunded { payment_id: payment_id(order), amount, currency })?,
        None => NewEvent::caused_by(event, &PaymentVoided {})?,
    })
}
