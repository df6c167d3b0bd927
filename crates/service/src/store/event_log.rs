//! The event log: the source of truth, append-only.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName,
    dsl::max,
    sql_types::{Array, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::{Envelope, EventName, Logged, NewEvent};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

use super::{
    Connection, Prepare as _, StoreError,
    outbox::Outgoing,
    schema::messaging::{event_archive, event_log},
};
use crate::fault::{self, Safeguard};

/// Appends events to their orders' histories and puts them into the outbox, in the caller's transaction.
///
/// Each event gets the version after its order's last. If another transaction takes the same version first, this fails
/// with a unique violation, and the caller must retry its whole transaction.
///
/// # Errors
/// Returns database errors; [`StoreError::Archived`] if the order's history is in the archive.
pub async fn append(
    connection: &mut Connection,
    source: &str,
    events: Vec<NewEvent>,
) -> Result<Vec<Outgoing>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let orders: Vec<Uuid> = events.iter().map(|event| event.order_id).collect();
    let last: Vec<(Uuid, Option<i32>)> = event_log::table
        .filter(event_log::order_id.eq_any(&orders))
        .group_by(event_log::order_id)
        .select((event_log::order_id, max(event_log::version)))
        .load(connection)
        .await?;
    let mut versions: HashMap<Uuid, i32> =
        last.into_iter().map(|(order, version)| (order, version.unwrap_or(0))).collect();
    let unknown = orders.iter().copied().filter(|order| !versions.contains_key(order)).collect();
    refuse_archived(connection, unknown).await?;
    let envelopes = events
        .into_iter()
        .map(|event| {
            let version = versions.entry(event.order_id).or_insert(0);
            *version += 1;
            (event.name, event.into_envelope(source, *version))
        })
        .collect();
    insert(connection, envelopes).await
}

/// Protects the numbering of histories: if an order's events were archived, its next event would be numbered 1.
async fn refuse_archived(connection: &mut Connection, without_history: Vec<Uuid>) -> Result<(), StoreError> {
    if without_history.is_empty() {
        return Ok(());
    }
    let archived: Option<Uuid> = event_archive::table
        .filter(event_archive::order_id.eq_any(without_history))
        .select(event_archive::order_id)
        .first(connection)
        .await
        .optional()?;
    archived.map_or(Ok(()), |order| Err(StoreError::Archived(order)))
}

/// Like [`append`], for orders that have no history yet: every event becomes version 1 of its order.
///
/// # Errors
/// Returns database errors.
pub async fn append_first(
    connection: &mut Connection,
    source: &str,
    events: Vec<NewEvent>,
) -> Result<Vec<Outgoing>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let envelopes = events.into_iter().map(|event| (event.name, event.into_envelope(source, 1))).collect();
    insert(connection, envelopes).await
}

/// The columns of many rows, as parameters of one statement.
#[derive(Default)]
struct Columns {
    order_id: Vec<Uuid>,
    version: Vec<i32>,
    event_id: Vec<Uuid>,
    event: Vec<&'static str>,
    source: Vec<String>,
    occurred_at: Vec<DateTime<Utc>>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Option<Uuid>>,
    traceparent: Vec<Option<String>>,
    data: Vec<serde_json::Value>,
    body: Vec<String>,
}

/// One statement writes log and outbox: this saves a round trip per batch, and neither can be forgotten.
const INSERT: &str = "
WITH fresh AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::uuid[], $8::uuid[], $9::text[], $10::jsonb[], $11::text[])
        AS row (order_id, version, event_id, event, source, occurred_at,
                correlation_id, causation_id, traceparent, data, body)
), logged AS (
    INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at,
                                     correlation_id, causation_id, traceparent, data)
    SELECT order_id, version, event_id, event, source, occurred_at,
           correlation_id, causation_id, traceparent, data FROM fresh
)
INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
SELECT event_id, order_id, event, source, occurred_at, correlation_id, body, now() + $12::text::interval FROM fresh";

async fn insert(
    connection: &mut Connection,
    envelopes: Vec<(EventName, Envelope<serde_json::Value>)>,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut columns = Columns::default();
    let mut outgoing = Vec::with_capacity(envelopes.len());
    for (name, envelope) in envelopes {
        let event = as_outgoing(name.as_str(), &envelope)?;
        columns.event.push(name.as_str());
        columns.body.push(event.body.clone());
        outgoing.push(event);
        columns.order_id.push(envelope.order_id);
        columns.version.push(envelope.order_version);
        columns.event_id.push(envelope.id);
        columns.source.push(envelope.source);
        columns.occurred_at.push(envelope.time);
        columns.correlation_id.push(envelope.correlation_id);
        columns.causation_id.push(envelope.causation_id);
        columns.traceparent.push(envelope.traceparent);
        columns.data.push(envelope.data);
    }
    diesel::sql_query(INSERT)
        .bind::<Array<SqlUuid>, _>(columns.order_id)
        .bind::<Array<Integer>, _>(columns.version)
        .bind::<Array<SqlUuid>, _>(columns.event_id)
        .bind::<Array<Text>, _>(columns.event)
        .bind::<Array<Text>, _>(columns.source)
        .bind::<Array<Timestamptz>, _>(columns.occurred_at)
        .bind::<Array<SqlUuid>, _>(columns.correlation_id)
        .bind::<Array<Nullable<SqlUuid>>, _>(columns.causation_id)
        .bind::<Array<Nullable<Text>>, _>(columns.traceparent)
        .bind::<Array<Jsonb>, _>(columns.data)
        .bind::<Array<Text>, _>(columns.body)
        .bind::<Text, _>(super::outbox::GRACE)
        .prepared()
        .execute(connection)
        .await?;
    if fault::without(Safeguard::Outbox) {
        let ids: Vec<Uuid> = outgoing.iter().map(|event| event.event_id).collect();
        super::outbox::delete(connection, &ids).await?;
    }
    Ok(outgoing)
}

/// Returns the outgoing form of an event. This is the only place that makes its message's body. The JSON is indented
/// for people who read it in a queue; docs/EVENTS.md has the cost.
fn as_outgoing(name: &str, envelope: &Envelope<serde_json::Value>) -> Result<Outgoing, StoreError> {
    Ok(Outgoing {
        event_id: envelope.id,
        order_id: envelope.order_id,
        event: name.to_owned(),
        cloud_type: Some(envelope.cloud_type.clone()),
        source: envelope.source.clone(),
        occurred_at: envelope.time,
        correlation_id: envelope.correlation_id,
        traceparent: envelope.traceparent.clone(),
        body: serde_json::to_string_pretty(envelope)?,
    })
}

/// Returns the events with these ids, by id.
///
/// # Errors
/// Returns database errors.
pub async fn find(
    connection: &mut Connection,
    events: &[Uuid],
) -> Result<HashMap<Uuid, Envelope<serde_json::Value>>, StoreError> {
    let rows: Vec<WholeRow> = event_log::table.filter(event_log::event_id.eq_any(events)).load(connection).await?;
    Ok(rows.into_iter().map(|row| (row.event_id, row.envelope())).collect())
}

/// Returns which of these events are in the archive. Their orders finished so long ago that nothing acts on them any
/// more: consumers acknowledge such an event as applied.
///
/// # Errors
/// Returns database errors.
pub async fn archived(connection: &mut Connection, events: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Uuid> = event_archive::table
        .filter(event_archive::event_id.eq_any(events))
        .select(event_archive::event_id)
        .load(connection)
        .await?;
    Ok(rows.into_iter().collect())
}

/// A whole row of the log.
#[derive(Queryable, QueryableByName)]
#[diesel(table_name = event_log)]
pub(super) struct WholeRow {
    order_id: Uuid,
    version: i32,
    event_id: Uuid,
    event: String,
    source: String,
    occurred_at: DateTime<Utc>,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    traceparent: Option<String>,
    data: serde_json::Value,
}

impl WholeRow {
    /// Returns the event as it was first published.
    pub(super) fn envelope(self) -> Envelope<serde_json::Value> {
        let logged = Logged {
            id: self.event_id,
            order_id: self.order_id,
            order_version: self.version,
            name: self.event.into(),
            source: self.source,
            time: self.occurred_at,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            traceparent: self.traceparent,
            data: self.data,
        };
        logged.into()
    }
}

/// Returns these events as they were first published, byte for byte, for republishing. Leaves out events that are not
/// in the log.
///
/// # Errors
/// Returns database errors.
pub async fn outgoing(connection: &mut Connection, events: &[Uuid]) -> Result<Vec<Outgoing>, StoreError> {
    let rows: Vec<WholeRow> = event_log::table.filter(event_log::event_id.eq_any(events)).load(connection).await?;
    rows.into_iter()
        .map(|row| {
            let name = row.event.clone();
            as_outgoing(&name, &row.envelope())
        })
        .collect()
}
