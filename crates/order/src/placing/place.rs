//! Places orders: from the request to the stored order, the same for the API and the shop's forms.

use std::{sync::Arc, time::Duration};

use chrono::{SubsecRound as _, Utc};
use orderflow_service::{
    broker::Relay,
    config::Admission,
    group_commit::{GroupCommit, NoAnswer},
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
    trace::{Kind, Span},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    admission::{Gate, NotAdmitted},
    catalogue::{Catalogue, CatalogueCache},
    fields::{ErrorCode, Errors, FieldError},
    fingerprint,
    order_writer::{self, OrderWriter},
    pending_order::{NotPlaced, Outcome, PendingOrder, Placed},
    validate::{self, Priced},
};
use crate::{
    domain::{OrderNumber, OrderStatus},
    payment_kind::PaymentKind,
    store::{
        idempotency::Fingerprint,
        orders::{self, NewOrder},
    },
};

/// Places orders. Cheap to clone.
#[derive(Clone)]
pub struct Placing {
    database: Database,
    catalogue: CatalogueCache,
    gate: Gate,
    order_writer: OrderWriter,
    queue: GroupCommit<PendingOrder, Outcome>,
}

/// A request for an order. It has no `Debug`, since it holds personal data, which must not reach a log.
pub struct PlacementRequest<'a> {
    /// The idempotency key: new for each order, the same for its repetitions.
    pub key: &'a str,
    /// The order as sent, not validated yet.
    pub body: &'a Value,
    /// The total that the customer was shown, in minor units, if the body does not contain it.
    pub shown: Option<i64>,
    /// The seconds until this client may place a new order; `None` means now. Until then it only gets stored answers to
    /// repeated requests.
    pub retry_seconds: Option<u64>,
    /// Returns whether the client has proved that an order is its own.
    pub owns: &'a dyn Fn(Uuid) -> bool,
    /// The request's id.
    pub correlation_id: Uuid,
    /// The trace context of the order and all its events.
    pub traceparent: String,
}

/// Why an order was not placed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The order is invalid; these are all its errors.
    #[error("the order is invalid: {0:?}")]
    Invalid(Vec<FieldError>),
    /// The customer was shown another total.
    #[error("the order now costs {total} {currency}, which is not the total that its customer was shown")]
    TotalChanged {
        /// The current total in minor units.
        total: i64,
        /// ISO 4217.
        currency: String,
    },
    /// It is not a repetition, and the client may not place a new order yet.
    #[error("the client places orders too fast; it may place the next one in {retry_seconds} s")]
    TooFast {
        /// When the client may, in seconds from now.
        retry_seconds: u64,
    },
    /// New orders are currently rejected.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Too many orders are waiting to be stored. Nothing was stored.
    #[error("too many orders are waiting to be stored")]
    QueueFull,
    /// It could not be stored under its key.
    #[error(transparent)]
    NotPlaced(#[from] NotPlaced),
    /// The database failed before anything was stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NoAnswer> for Refused {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Full => Self::QueueFull,
            NoAnswer::Late | NoAnswer::Gone => NotPlaced::Unavailable.into(),
        }
    }
}

impl Placing {
    /// Starts the background tasks on the current runtime, until `stop`. Orders that this payment provider cannot
    /// charge are refused. Events go to `relay`.
    #[must_use]
    pub fn start(
        database: Database,
        relay: Relay,
        charged_by: PaymentKind,
        limits: Admission,
        stop: &CancellationToken,
    ) -> Self {
        let order_writer = OrderWriter::new(database.clone(), relay);
        let committing = order_writer.clone();
        Self {
            catalogue: CatalogueCache::start(database.clone(), charged_by, stop.clone()),
            gate: Gate::start(database.clone(), limits, stop.clone()),
            queue: GroupCommit::start(order_writer::LIMITS, move |batch| committing.clone().commit(batch)),
            order_writer,
            database,
        }
    }

    /// Returns the catalogue that orders are priced from, or `None` until the database is first reached.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.catalogue.current()
    }

    /// Returns whether the database has been reached, so that orders can be validated and admitted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.catalogue().is_some() && self.gate.is_measured()
    }

    /// Waits until no transaction is in progress, for at most `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        self.order_writer.drain(deadline).await;
    }

    /// Places the order, or returns the order that was placed with the same key before.
    ///
    /// # Errors
    /// See [`Refused`]. After [`NotPlaced::Unavailable`] the order may exist: a retry with the same key returns the
    /// outcome. After any other error, this request has stored nothing.
    pub async fn place(&self, request: PlacementRequest<'_>) -> Result<Placed, Refused> {
        let judged = match request.retry_seconds {
            None => self.judge(&request).await,
            Some(retry_seconds) => Err(Refused::TooFast { retry_seconds }),
        };
        let Some(fingerprint) = fingerprint::of(request.body) else {
            return Err(judged.err().unwrap_or_else(|| {
                tracing::error!(request.id = %request.correlation_id, "a valid order has no fingerprint");
                NotPlaced::Failed.into()
            }));
        };
        let outcome = match judged {
            Ok(priced) => {
                // Last, so that a client is not asked to retry an order that can never be accepted.
                self.gate.admit()?;
                let placement = placement(request, fingerprint, priced);
                let mut storing = Span::after(Kind::Client, "store order", Some(&placement.traceparent));
                storing.order(placement.order.id);
                self.queue.submit(placement).await?
            }
            // The rules, the catalogue or the replaced order may have changed since the same request was accepted. A
            // repetition gets the stored answer: a refusal would make the customer order, and pay, again.
            Err(refusal) => self.order_writer.placed_before(request.key, &fingerprint).await?.ok_or(refusal)?,
        };
        Ok(outcome?)
    }

    /// Returns the priced order, or why it is refused today.
    async fn judge(&self, request: &PlacementRequest<'_>) -> Result<Priced, Refused> {
        let catalogue = self.catalogue().ok_or(NotAdmitted::DatabaseUnavailable)?;
        let priced = validate::order(request.body, &catalogue).map_err(Refused::Invalid)?;
        if let Some(replaced) = priced.request.replaces {
            self.replaceable(request, replaced).await?;
        }
        // Charge only the total that the customer was shown; otherwise the customer must confirm the new one.
        if request.shown.or(priced.request.expected_total).is_some_and(|expected| expected != priced.total) {
            return Err(Refused::TotalChanged { total: priced.total, currency: priced.currency });
        }
        Ok(priced)
    }

    /// Checks whether the customer may replace this order: it is theirs, and its payment was declined.
    async fn replaceable(&self, request: &PlacementRequest<'_>, replaced: Uuid) -> Result<(), Refused> {
        if (request.owns)(replaced) {
            let finding = async |connection: &mut Connection| orders::find(connection, replaced).await;
            let found = self.database.run(ANSWER_WITHIN, finding).await?;
            if found.is_some_and(|order| order.status == OrderStatus::PaymentFailed.as_str()) {
                return Ok(());
            }
        }
        let mut errors = Errors::default();
        errors.add("#/replaces", ErrorCode::NotReplaceable, validate::NOT_REPLACEABLE);
        Err(Refused::Invalid(errors.into_list()))
    }
}

fn placement(request: PlacementRequest<'_>, fingerprint: Fingerprint, priced: Priced) -> PendingOrder {
    let PlacementRequest { key, correlation_id, traceparent, .. } = request;
    let Priced { request, lines, total, currency } = priced;
    let replaces = request.replaces;
    let order = NewOrder {
        id: Uuid::now_v7(),
        number: OrderNumber::random(),
        total,
        currency,
        customer_name: request.customer.name,
        customer_email: request.customer.email,
        address_line1: request.shipping_address.line1,
        address_line2: request.shipping_address.line2,
        city: request.shipping_address.city,
        postal_code: request.shipping_address.postal_code,
        country: request.shipping_address.country,
        state: request.shipping_address.state,
        phone: request.shipping_address.phone,
        payment_method: request.payment.method,
        created_at: Utc::now().trunc_subsecs(3),
        lines,
    };
    PendingOrder { key: key.to_owned(), fingerprint, correlation_id, traceparent, order, replaces }
}
