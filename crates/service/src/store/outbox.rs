//! The outbox: committed events that the broker has not confirmed yet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryableByName,
    sql_types::{Array, BigInt, Double, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde::Deserialize;
use uuid::Uuid;

use super::{Connection, Prepare as _, StoreError, schema::messaging::outbox};

/// How long a fresh row belongs to the process that wrote it, which publishes it immediately. After that the relay of
/// any process of its service takes it. So this is how much later an event is published if its process dies between
/// commit and confirm.
pub const GRACE: &str = "10 seconds";

/// How long a lease keeps a row from other relays: longer than any confirm may take.
const LEASE: &str = "60 seconds";

/// An event on its way to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The event's id, which becomes the message's.
    pub event_id: Uuid,
    /// The order it happened to.
    pub order_id: Uuid,
    /// The event's kind, which is its routing key: `payment.completed`. A text, because a newer version may write kinds
    /// that this one does not know.
    pub event: String,
    /// The CloudEvents type, as in `body`; `None` if `body` has none.
    pub cloud_type: Option<String>,
    /// The source: `/orderflow/payment`.
    pub source: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The placing request's id.
    pub correlation_id: Uuid,
    /// The trace context of the step that produced it.
    pub traceparent: Option<String>,
    /// The CloudEvents JSON.
    pub body: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = SqlUuid)]
    correlation_id: Uuid,
    #[diesel(sql_type = Text)]
    body: String,
}

/// The most kinds that a query returns: far more than exist. Bounds memory if someone writes rows of invented kinds.
const MOST_KINDS: i64 = 200;

/// Selects each kind that has a row, with one index step per kind, however many rows there are.
const KINDS: &str = "
WITH RECURSIVE kinds AS (
    (SELECT event FROM messaging.outbox ORDER BY event LIMIT 1)
    UNION ALL
    SELECT (SELECT event FROM messaging.outbox WHERE event > kinds.event ORDER BY event LIMIT 1)
    FROM kinds WHERE kinds.event IS NOT NULL
)";

/// Selects by kind, so that the relays of other services do not read the rows of an unavailable service over and over.
const LEASE_DUE: &str = "
WITH due AS MATERIALIZED (
    SELECT row.event_id FROM unnest($3::text[]) AS kinds (event), LATERAL (
        SELECT event_id, available_at FROM messaging.outbox
        WHERE event = kinds.event AND available_at <= now()
        ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS row ORDER BY row.available_at LIMIT $1
)
UPDATE messaging.outbox SET available_at = now() + $2::text::interval, attempts = attempts + 1
FROM due WHERE outbox.event_id = due.event_id
RETURNING outbox.event_id, order_id, event, source, occurred_at, correlation_id, body";

/// The setting applies only to this statement's transaction.
const DELETE_SOON: &str = "
WITH soon AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
DELETE FROM messaging.outbox USING soon WHERE event_id = ANY($1)";

/// Returns the kinds of event that have rows, at most 200.
///
/// # Errors
/// Returns database errors.
pub async fn kinds(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        event: String,
    }
    let query = format!("{KINDS} SELECT event FROM kinds WHERE event IS NOT NULL LIMIT $1");
    let rows: Vec<Row> = diesel::sql_query(query).bind::<BigInt, _>(MOST_KINDS).prepared().load(connection).await?;
    Ok(rows.into_iter().map(|row| row.event).collect())
}

/// Leases up to `limit` due rows of these kinds for a minute, so that no other relay takes them. Publish them after
/// this statement's transaction, and [`delete`] those confirmed; the rest become due again after that minute.
///
/// # Errors
/// Returns database errors.
pub async fn lease_due(connection: &mut Connection, kinds: &[String], limit: i64) -> Result<Vec<Outgoing>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(LEASE_DUE)
        .bind::<BigInt, _>(limit)
        .bind::<Text, _>(LEASE)
        .bind::<Array<Text>, _>(kinds)
        .prepared()
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

impl From<Row> for Outgoing {
    /// Never fails: a row that this version does not understand must not hold back the others of its lease.
    fn from(row: Row) -> Self {
        let Head { cloud_type, traceparent } = serde_json::from_str(&row.body).unwrap_or_default();
        Self {
            event_id: row.event_id,
            order_id: row.order_id,
            event: row.event,
            cloud_type,
            source: row.source,
            occurred_at: row.occurred_at,
            correlation_id: row.correlation_id,
            traceparent,
            body: row.body,
        }
    }
}

/// The fields of an event's JSON that the message's properties and trace need. The outbox has no columns for them,
/// because only the slow path reads them.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default, rename = "type")]
    cloud_type: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
}

/// Deletes rows that the broker confirmed, and returns their number.
///
/// # Errors
/// Returns database errors; the rows then become due again, and consumers recognise the repetition.
pub async fn delete(connection: &mut Connection, confirmed: &[Uuid]) -> Result<usize, StoreError> {
    Ok(diesel::delete(outbox::table).filter(outbox::event_id.eq_any(confirmed)).execute(connection).await?)
}

/// Like [`delete`], but does not wait for the disk. After a crash of PostgreSQL the rows may reappear; they are
/// published again, and consumers recognise the repetition. The transaction contains nothing else.
///
/// # Errors
/// Returns the errors of [`delete`].
pub async fn delete_soon(connection: &mut Connection, confirmed: &[Uuid]) -> Result<(), StoreError> {
    diesel::sql_query(DELETE_SOON).bind::<Array<SqlUuid>, _>(confirmed).prepared().execute(connection).await?;
    Ok(())
}

/// The number and age of rows that wait for the broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depth {
    /// Rows, counted up to the requested limit.
    pub rows: i64,
    /// Seconds since the oldest row was written; 0 without rows.
    pub oldest_seconds: f64,
}

impl Depth {
    /// No rows.
    pub const EMPTY: Self = Self { rows: 0, oldest_seconds: 0.0 };

    /// Returns both depths combined: the rows added up, and the older age.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_add(other.rows),
            oldest_seconds: self.oldest_seconds.max(other.oldest_seconds),
        }
    }
}

/// The depth of the outbox, by kind of event. Kinds without rows are absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Depths(pub BTreeMap<String, Depth>);

impl Depths {
    /// Returns the depth of the kinds that `chosen` accepts.
    pub fn of(&self, chosen: impl Fn(&str) -> bool) -> Depth {
        let depths = self.0.iter().filter(|(event, _)| chosen(event)).map(|(_, depth)| *depth);
        depths.fold(Depth::EMPTY, Depth::and)
    }

    /// Returns the depth of `order.*`: the kinds that front ends and workers of the order service publish. When many of
    /// these wait, new orders make no progress. Other services' backlogs are no reason to refuse orders.
    #[must_use]
    pub fn of_orders(&self) -> Depth {
        self.of(|event| event.starts_with("order."))
    }

    /// Returns the depth of all kinds.
    #[must_use]
    pub fn all(&self) -> Depth {
        self.of(|_| true)
    }
}

/// Measures the outbox. Reads at most `limit` rows of each kind, those due first, so that a huge outbox costs no more
/// than a large one.
///
/// # Errors
/// Returns database errors.
pub async fn depths(connection: &mut Connection, limit: i64) -> Result<Depths, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        event: String,
        #[diesel(sql_type = BigInt)]
        rows: i64,
        #[diesel(sql_type = Double)]
        oldest_seconds: f64,
    }
    let query = format!(
        "{KINDS}
         SELECT kinds.event, counted.rows, coalesce(extract(epoch FROM now() - counted.oldest), 0)::float8 AS oldest_seconds
         FROM kinds, LATERAL (
             SELECT count(*) AS rows, min(created_at) AS oldest FROM (
                 SELECT created_at FROM messaging.outbox WHERE event = kinds.event ORDER BY available_at LIMIT $1
             ) AS first
         ) AS counted WHERE kinds.event IS NOT NULL LIMIT $2"
    );
    let rows: Vec<Row> = diesel::sql_query(query)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(MOST_KINDS)
        .prepared()
        .load(connection)
        .await?;
    let depth = |row: &Row| Depth { rows: row.rows, oldest_seconds: row.oldest_seconds };
    Ok(Depths(rows.into_iter().map(|row| (row.event.clone(), depth(&row))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_an_unknown_kind_or_without_json_is_still_published() {
        let row = |body: &str| Row {
            event_id: Uuid::nil(),
            order_id: Uuid::nil(),
            event: "order.gift-wrapped".to_owned(),
            source: "/orderflow/order".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            correlation_id: Uuid::nil(),
            body: body.to_owned(),
        };
        let newer = Outgoing::from(row(r#"{"type": "orders.order-gift-wrapped.v1", "traceparent": "00-a-b-01"}"#));
        assert_eq!(newer.event, "order.gift-wrapped");
        assert_eq!(newer.cloud_type.as_deref(), Some("orders.order-gift-wrapped.v1"));
        assert_eq!(newer.traceparent.as_deref(), Some("00-a-b-01"));
        for body in ["", "no JSON", "[]", r#"{"type": 1}"#] {
            let bare = Outgoing::from(row(body));
            assert_eq!((bare.body.as_str(), bare.cloud_type, bare.traceparent), (body, None, None));
        }
    }
}
