//! An accepted order that is about to be stored, and the answer to its client.

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
    /// The request's fingerprint.
    pub fingerprint: Fingerprint,
    /// The request's id.
    pub correlation_id: Uuid,
    /// The trace context of the order and all its events.
    pub traceparent: String,
    /// The order.
    pub order: NewOrder,
    /// The declined order that this one replaces.
    pub replaces: Option<Uuid>,
}

/// A placed order, as the answer describes it; the same for every repetition of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub order_id: Uuid,
    /// The number that customers quote on the phone.
    pub number: String,
    /// The total in minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// When it was placed, in whole milliseconds.
    pub created_at: DateTime<Utc>,
    /// Whether another request with this key placed it.
    pub replayed: bool,
}

/// Why an order was not stored under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPlaced {
    /// The key belongs to another request.
    #[error("the key belongs to another request")]
    KeyReused,
    /// Another transaction holds the key.
    #[error("another transaction holds the key")]
    InProgress,
    /// The database could not be reached in time. The order may exist: a retry with the same key returns the outcome.
    #[error("the database could not be reached in time; the order may or may not be stored")]
    Unavailable,
    /// The database refused it; the cause is logged. Nothing is stored.
    #[error("the database refused the order")]
    Failed,
}

/// The outcome of a request.
pub type Outcome = Result<Placed, NotPlaced>;

impl PendingOrder {
    /// Returns the claim to its key.
    #[must_use]
    pub fn claim(&self) -> Claim<'_> {
        Claim {
            key: &self.key,
            fingerprint: &self.fingerprint,
            order_id: self.order.id,
            created_at: self.order.created_at,
        }
    }

    /// Returns its first event.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
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

    /// Returns the order as [`idempotency::find`](crate::store::idempotency::find) will read it.
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

/// Returns the answer to a request with this fingerprint that would have placed the order `own`.
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
