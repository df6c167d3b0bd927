//! `inventory.released` or `inventory.rejected` → refund or void the charge → `payment.refunded` or `payment.voided`

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    marker::PhantomData,
    sync::Arc,
};

use orderflow_events::{Envelope, EventData, NewEvent, PaymentRefunded, PaymentVoided};
use orderflow_service::{
    Failure,
    call_guard::{CallGuard, Guarded},
    handler::{Done, Handler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{
    intents,
    keys::{NOTHING, charge_key, payment_id, refund_key},
    store::{self, Due, Payment, Reversing},
};
use crate::providers::payment::{PaymentProvider, RefundRequest, VoidOutcome, VoidRequest};

/// Refunds orders that will not ship. If an order is not charged yet, prevents the charge.
pub struct ReversePayment<E> {
    provider: Guarded<dyn PaymentProvider>,
    event: PhantomData<fn() -> E>,
}

impl<E> ReversePayment<E> {
    /// Returns a handler that refunds with this provider.
    #[must_use]
    pub fn new(provider: Guarded<dyn PaymentProvider>) -> Self {
        Self { provider, event: PhantomData }
    }
}

/// What to do about a payment.
#[derive(Debug)]
pub enum ToReverse {
    /// Nothing: it is already reversed.
    Done,
    /// Refund the charge.
    Refund {
        /// The provider's name for the charge.
        charge_id: String,
        /// The amount in minor units; 0 if the order cost nothing.
        amount: i64,
        /// ISO 4217.
        currency: String,
    },
    /// Nothing was charged and nothing will be, by our own rows.
    NotCharged(Due),
    /// Nothing was charged as far as we know. A request for the charge may be in flight, so the provider must void it.
    Void(Due),
}

impl ToReverse {
    /// Returns what to do. `is_unasked` means that no charge was ever requested from the provider, nor will be.
    fn of(due: Due, payment: Option<Payment>, is_unasked: bool) -> Self {
        match payment {
            Some(Payment::Reversed) => Self::Done,
            Some(Payment::Succeeded { charge_id, amount, currency }) => Self::Refund { charge_id, amount, currency },
            Some(Payment::Declined) => Self::NotCharged(due),
            None if is_unasked || due.total == 0 => Self::NotCharged(due),
            None => Self::Void(due),
        }
    }
}

/// The outcome of a reversal.
#[derive(Debug)]
pub struct Reversal(Option<Reversing>);

impl<E: EventData> Handler for ReversePayment<E> {
    type Event = E;
    type Input = ToReverse;
    type Effect = Reversal;

    fn guard(&self) -> Option<&Arc<CallGuard>> {
        Some(&self.provider.guard)
    }

    fn calls(&self, to_reverse: &ToReverse) -> bool {
        match to_reverse {
            ToReverse::Done | ToReverse::NotCharged(_) => false,
            ToReverse::Refund { amount, .. } => *amount != 0,
            ToReverse::Void(_) => true,
        }
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<E>>],
    ) -> Result<Vec<Result<ToReverse, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let payments: HashMap<Uuid, Payment> = store::payments(connection, &orders).await?;
        let due: HashMap<Uuid, Due> = store::due(connection, &orders).await?;
        // A cancellation must not wait for a provider that was never called, least of all for a misconfigured one.
        let unasked = if self.provider.remembers() {
            let open: Vec<Uuid> = orders.iter().filter(|order| !payments.contains_key(*order)).copied().collect();
            intents::give_up(connection, &open).await?
        } else {
            HashSet::new()
        };
        let to_reverse = |order: &Uuid| {
            let due = due.get(order).cloned().ok_or_else(Failure::no_such_order)?;
            Ok(ToReverse::of(due, payments.get(order).cloned(), unasked.contains(order)))
        };
        Ok(orders.iter().map(to_reverse).collect())
    }

    async fn act(&self, event: &Envelope<E>, to_reverse: ToReverse) -> Result<Reversal, Failure> {
        let order = event.order_id;
        let (charge_id, amount, currency) = match to_reverse {
            ToReverse::Done => return Ok(Reversal(None)),
            ToReverse::Refund { charge_id, amount, currency } => (Some(charge_id), amount, currency),
            ToReverse::NotCharged(due) => (None, due.total, due.currency),
            ToReverse::Void(due) => (self.void(order, &due).await?, due.total, due.currency),
        };
        let refund = match charge_id {
            None => None,
            Some(charge_id) if amount == 0 => Some((charge_id, NOTHING.to_owned())),
            Some(charge_id) => {
                let request = RefundRequest {
                    idempotency_key: refund_key(order),
                    charge_id: charge_id.clone(),
                    amount,
                    currency: currency.clone(),
                };
                Some((charge_id, self.provider.guard.call(self.provider.refund(request)).await?))
            }
        };
        Ok(Reversal(Some(Reversing { amount, currency, refund })))
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<E, Reversal>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        // One per order, sorted by order id: rows are locked in that order everywhere.
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
    /// Voids the order's charge. Returns the provider's name for the charge if it has already happened; otherwise it
    /// never will.
    async fn void(&self, order: Uuid, due: &Due) -> Result<Option<String>, Failure> {
        let request = VoidRequest {
            idempotency_key: charge_key(order),
            reference: order,
            amount: due.total,
            currency: due.currency.clone(),
        };
        Ok(match self.provider.guard.call(self.provider.void(request)).await? {
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
