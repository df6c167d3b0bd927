//! An accepted order on its way into the database, and what its client is answered.

use chrono::{DateTime, Utc};
use orderflow_events::{NewEvent, OrderCreated, OrderedItem};
use uuid::Uuid;

use crate::store::{
    idempotency::{Claim, Fingerprint, Stored},
    orders::{Line, NewOrder},
};

/// An order that is ready to be stored.
pub struct PendingOrder {
    /// The client's Idempotency-Key.
    pub key: String,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The request's id.
    pub correlation_id: Uuid,
    /// The trace that everything that follows belongs to.
    pub traceparent: String,
    /// The order.
    pub order: NewOrder,
    /// The declined order that it is in the place of.
    pub replaces: Option<Uuid>,
}

/// What the answer to a placed order is made from; the same for every repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub order_id: Uuid,
    /// What people read out on the phone.
    pub number: String,
    /// In minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// Whole milliseconds.
    pub created_at: DateTime<Utc>,
    /// Another request with this key made it.
    pub replayed: bool,
}

/// Why an order is not stored under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPlaced {
    /// The key belongs to another request.
    #[error("the key belongs to another request")]
    KeyReused,
    /// Another transaction holds the key.
    #[error("another transaction holds the key")]
    InProgress,
    /// The database could not be reached in time. The order may exist: the same key finds out.
    #[error("the database could not be reached in time; the order may or may not be stored")]
    Unavailable,
    /// The database refused it; the cause is logged. Nothing is stored.
    #[error("the database refused the order")]
    Failed,
}

/// What a request gets.
pub type Outcome = Result<Placed, NotPlaced>;

impl PendingOrder {
    /// What it claims its key with.
    #[must_use]
    pub fn claim(&self) -> Claim<'_> {
        Claim {
            key: &self.key,
            fingerprint: &self.fingerprint,
            order_id: self.order.id,
            created_at: self.order.created_at,
        }
    }

    /// What its first event says.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn event(&self) -> serde_json::Result<NewEvent> {
        let order = &self.order;
        let item = |line: &Line| OrderedItem { sku: line.sku.clone(), quantity: line.quantity, price: line.price };
        let data = OrderCreated {
            number: order.number.to_string(),
            total: order.total,
            currency: order.currency.clone(),
            items: order.lines.iter().map(item).collect(),
            replaces: self.replaces,
        };
        NewEvent::uncaused(order.id, self.correlation_id, Some(self.traceparent.clone()), &data)
    }

    /// As [`idempotency::find`](crate::store::idempotency::find) will read it from now on.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            key: self.key.clone(),
            fingerprint: self.fingerprint.to_vec(),
            order_id: self.order.id,
            number: self.order.number.to_string(),
            total: self.order.total,
            currency: self.order.currency.clone(),
            created_at: self.order.created_at,
        }
    }
}

/// The answer to a request with this fingerprint that would have made the order `own`.
pub fn answer(stored: &Stored, fingerprint: &Fingerprint, own: Option<Uuid>) -> Outcome {
    if stored.fingerprint != fingerprint {
        return Err(NotPlaced::KeyReused);
    }
    Ok(Placed {
        order_id: stored.order_id,
        number: stored.number.clone(),
        total: stored.total,
        currency: stored.currency.clone(),
        created_at: stored.created_at,
        replayed: own != Some(stored.order_id),
    })
}
