//! Protects against forged messages: each message is matched with the event log before the service acts on it.
//!
//! RabbitMQ's permissions cannot do this: every worker must write to the retry, return and dead-letter exchanges, so anyone
//! with a worker's password can publish to any queue. Therefore a message only selects an event. Its id, order and kind must
//! be those of an event in the log, and handlers get the log's data, never the message's.
//!
//! Comparing a digest instead would save little: of a batch of 50 in a log of 400,000 events, reading whole rows took 10 µs an
//! event and reading a stored digest 8.4 µs (PostgreSQL 15, two connections, medians of three runs).

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    failure::Failure,
    fault::{self, Safeguard},
    handler::Handler,
    metrics::QueueMetrics,
    pipeline::{queue_context::Event, received::Received},
    store::{Connection, StoreError, event_log},
    telemetry,
};

/// Returns each of these events as the log has it, in the same order; `None` where it is in the archive, so nothing is to be done
/// about it any more; a [`Failure`] where the log has no such event or its data cannot be read.
///
/// Call it after the inbox was read, or an event that is moved to the archive in the moment between passes for a fresh one.
///
/// # Errors
/// Those of the database.
pub async fn verify<H: Handler>(
    connection: &mut Connection,
    metrics: &QueueMetrics,
    received: &[Arc<Received>],
) -> Result<Vec<Result<Option<Event<H>>, Failure>>, StoreError> {
    let ids: Vec<Uuid> = received.iter().map(|event| event.id()).collect();
    let mut logged = event_log::find(connection, &ids).await?;
    let missing: Vec<Uuid> = ids.into_iter().filter(|id| !logged.contains_key(id)).collect();
    let archived = event_log::archived(connection, &missing).await?;
    let one = |event: &Arc<Received>| {
        let stated = event.stated();
        let found = logged.remove(&stated.id);
        let found = if fault::without(Safeguard::EventLogMatch) { Some(stated.clone()) } else { found };
        let Some(mut logged) = found else {
            // Whatever its message states: nothing is done about it.
            let is_archived = archived.contains(&stated.id);
            return if is_archived { Ok(None) } else { Err(Failure::NotInLog { names_another: false }) };
        };
        if (logged.order_id, &logged.cloud_type) != (stated.order_id, &stated.cloud_type) {
            return Err(Failure::NotInLog { names_another: true });
        }
        // Compared as JSON: the order of keys says nothing.
        if *stated != logged {
            tracing::error!(event.id = %logged.id, order.id = %logged.order_id, event = %logged.cloud_type, "a message differs from its event in the log; the log's data is used");
            metrics.altered();
        } else {
            logged.traceparent = event.trace_context().map(str::to_owned);
        }
        let unreadable =
            |error| Failure::reject(format!("the event log's data cannot be read: {}", telemetry::chain(&error)));
        logged.typed().map(|event| Some(Arc::new(event))).map_err(unreadable)
    };
    Ok(received.iter().map(one).collect())
}
