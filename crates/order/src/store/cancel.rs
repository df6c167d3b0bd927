//! A customer's wish to cancel, as far as it is decided when it is written down.

use diesel::{OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use orderflow_events::{NewEvent, OrderCancelRequested};
use orderflow_service::store::{Connection, StoreError, event_log, outbox::Outgoing, schema::messaging};
use uuid::Uuid;

use super::{fold::fold, schema::orders::orders};
use crate::{SOURCE, domain::OrderStatus};

/// What became of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelRequest {
    /// There is no such order.
    Unknown,
    /// The order has shipped or failed: there is nothing to cancel.
    TooLate(OrderStatus),
    /// It is written down, with these events to publish; none where it had been requested before, or the order was
    /// being cancelled already.
    Requested(Vec<Outgoing>),
}

/// Who asks, in the event.
const CUSTOMER: &str = "customer";

/// Writes down that the order's customer wants it cancelled, in the caller's transaction. Safe to repeat.
///
/// # Errors
/// Those of the database; a unique violation means that a service wrote to the order's log at the same moment: the
/// whole transaction is to be tried again.
pub async fn request(connection: &mut Connection, id: Uuid) -> Result<CancelRequest, StoreError> {
    // Locked and brought up to date first, so that the answer is about how things stand now.
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

/// The request as an event of the order's own trace and correlation.
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
