//! Records a customer's cancellation request, or refuses it if the order is already settled.

use diesel::{OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
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

/// Records the cancellation request of the order's customer, in the caller's transaction. Safe to repeat.
///
/// # Errors
/// Returns database errors. A unique violation means that a service wrote to the order's log concurrently: retry the
/// whole transaction.
pub async fn request(connection: &mut Connection, id: Uuid) -> Result<CancelRequest, StoreError> {
    // The fold locks the order and updates it first, so that the answer is based on the current status.
    let Some(status) = fold(connection, &[id]).await?.get(&id).copied() else { return Ok(CancelRequest::Unknown) };
    if matches!(status, OrderStatus::Cancelling | OrderStatus::Cancelled) {
        return Ok(CancelRequest::Requested(Vec::new()));
    }
    if status.is_settled() {
        return Ok(CancelRequest::TooLate(status));
    }
    if is_requested(connection, id).await? {
        return Ok(CancelRequest::Requested(Vec::new()));
    }
    let Some(event) = event(connection, id).await? else { return Ok(CancelRequest::Unknown) };
    let outgoing = event_log::append(connection, SOURCE, vec![event]).await?;
    fold(connection, &[id]).await?;
    Ok(CancelRequest::Requested(outgoing))
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
