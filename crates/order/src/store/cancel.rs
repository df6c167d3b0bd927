//! Records a customer's cancellation request, or refuses it if the order is already settled.

use diesel::{OptionalExtension as _, QueryDsl as _};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_events::{NewEvent, OrderCancelRequested};
use orderflow_service::store::{Connection, StoreError, event_log, outbox::Outgoing, schema::messaging};
use uuid::Uuid;

use super::{fold::fold, schema::orders::orders};
use crate::{SOURCE, domain::OrderStatus};

/// The outcome of a cancellation request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelRequest {
    /// There is no such order.
    Unknown,
    /// The order has shipped or failed: there is nothing to cancel.
    TooLate(OrderStatus),
    /// The request is recorded, with these events to publish. There are none if it had been requested before, or if the
    /// order was already being cancelled.
    Requested(Vec<Outgoing>),
}

/// The requester, as the event names it.
const CUSTOMER: &str = "customer";

/// Why a transaction that records a request is rolled back.
enum RolledBack {
    /// The order no longer needs the request.
    Answered(CancelRequest),
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for RolledBack {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Records the cancellation request of the order's customer, in a transaction. Safe to repeat.
///
/// # Errors
/// Returns database errors. A unique violation means that a service wrote to the order's log concurrently: call this
/// again.
pub async fn request(connection: &mut Connection, id: Uuid) -> Result<CancelRequest, StoreError> {
    match connection.transaction(async |connection| record(connection, id).await).await {
        Ok(recorded) | Err(RolledBack::Answered(recorded)) => Ok(recorded),
        Err(RolledBack::Failed(error)) => Err(error),
    }
}

async fn record(connection: &mut Connection, id: Uuid) -> Result<CancelRequest, RolledBack> {
    // The fold locks the order and updates it first.
    let Some(status) = fold(connection, &[id]).await?.get(&id).copied() else { return Ok(CancelRequest::Unknown) };
    if let Some(answer) = answer(status) {
        return Ok(answer);
    }
    if is_requested(connection, id).await? {
        return Ok(CancelRequest::Requested(Vec::new()));
    }
    let Some(event) = event(connection, id).await? else { return Ok(CancelRequest::Unknown) };
    let outgoing = event_log::append(connection, SOURCE, vec![event]).await?;
    // Services log events without the order's lock, so the order may have ended between the fold and our event.
    let status = fold(connection, &[id]).await?.get(&id).copied();
    match status.and_then(answer) {
        Some(answer) => Err(RolledBack::Answered(answer)),
        None => Ok(CancelRequest::Requested(outgoing)),
    }
}

/// Returns the answer if an order with this status needs no request.
fn answer(status: OrderStatus) -> Option<CancelRequest> {
    match status {
        OrderStatus::Cancelling | OrderStatus::Cancelled => Some(CancelRequest::Requested(Vec::new())),
        status => status.is_settled().then_some(CancelRequest::TooLate(status)),
    }
}

async fn is_requested(connection: &mut Connection, id: Uuid) -> Result<bool, StoreError> {
    Ok(orders::table.find(id).select(orders::cancel_requested).first(connection).await.optional()?.unwrap_or(false))
}

/// Returns the request as an event with the order's trace context and correlation id.
async fn event(connection: &mut Connection, id: Uuid) -> Result<Option<NewEvent>, StoreError> {
    use messaging::event_log;
    let first: Option<(Uuid, Option<String>)> = event_log::table
        .find((id, 1))
        .select((event_log::correlation_id, event_log::traceparent))
        .first(connection)
        .await
        .optional()?;
    let Some((correlation_id, traceparent)) = first else { return Ok(None) };
    let data = OrderCancelRequested { by: CUSTOMER.to_owned() };
    Ok(Some(NewEvent::uncaused(id, correlation_id, traceparent, &data)?))
}
