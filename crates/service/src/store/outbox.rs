//! The outbox: events that are committed but that the broker has not confirmed yet.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryableByName,
    sql_types::{BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde::Deserialize;
use uuid::Uuid;

use super::{Connection, StoreError, schema::messaging::outbox};

/// How long a fresh row belongs to the process that wrote it, which publishes it at once. After that any process's
/// relay takes it, so this is how much later an event arrives when its process died between commit and confirm.
pub const GRACE: &str = "10 seconds";

/// How long a relay that took a row keeps it from the others: longer than any confirm may take.
const LEASE: &str = "60 seconds";

/// An event on its way to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The event's id, which becomes the message's.
    pub event_id: Uuid,
    /// The order it happened to.
    pub order_id: Uuid,
    /// What happened, as the routing key: `payment.completed`. A text, since a row of a newer version may be of a kind
    /// that this one does not know.
    pub event: String,
    /// The CloudEvents type, as in `body`; absent where `body` has none.
    pub cloud_type: Option<String>,
    /// Who says so: `/orderflow/payment`.
    pub source: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The placing request's id.
    pub correlation_id: Uuid,
    /// The trace context of the step that made it.
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

const LEASE_DUE: &str = "
UPDATE messaging.outbox SET available_at = now() + $2::text::interval, attempts = attempts + 1
WHERE event_id IN (
    SELECT event_id FROM messaging.outbox WHERE available_at <= now()
    ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING event_id, order_id, event, source, occurred_at, correlation_id, body";

/// Takes up to `limit` rows that are due, so that no other relay does for a minute. Publish them after this
/// statement's transaction, and [`delete`] what was confirmed; the rest becomes due again after that minute.
///
/// # Errors
/// Those of the database.
pub async fn lease_due(connection: &mut Connection, limit: i64) -> Result<Vec<Outgoing>, StoreError> {
    let rows: Vec<Row> =
        diesel::sql_query(LEASE_DUE).bind::<BigInt, _>(limit).bind::<Text, _>(LEASE).load(connection).await?;
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

impl From<Row> for Outgoing {
    /// Never fails: one row that this version does not understand must not keep back the others of its lease.
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

/// What the message's properties and its trace need of an event's JSON. The outbox has no column for these: they are
/// read only on the slow path.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default, rename = "type")]
    cloud_type: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
}

/// Forgets rows that the broker confirmed.
///
/// # Errors
/// Those of the database; the rows then become due again, and consumers recognise the repetition.
pub async fn delete(connection: &mut Connection, confirmed: &[Uuid]) -> Result<usize, StoreError> {
    Ok(diesel::delete(outbox::table).filter(outbox::event_id.eq_any(confirmed)).execute(connection).await?)
}

/// How much waits for the broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depth {
    /// Rows, counted up to the limit that was asked for.
    pub rows: i64,
    /// Seconds since the oldest was written; 0 when there is none.
    pub oldest_seconds: f64,
}

/// Measures the outbox, counting at most `limit` rows so that a huge one costs no more than a large one.
///
/// # Errors
/// Those of the database.
pub async fn depth(connection: &mut Connection, limit: i64) -> Result<Depth, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        rows: i64,
        #[diesel(sql_type = Nullable<Double>)]
        oldest_seconds: Option<f64>,
    }
    let row: Row = diesel::sql_query(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM messaging.outbox LIMIT $1) AS counted) AS rows,
                (SELECT extract(epoch FROM now() - min(created_at))::float8 FROM messaging.outbox) AS oldest_seconds",
    )
    .bind::<BigInt, _>(limit)
    .get_result(connection)
    .await?;
    Ok(Depth { rows: row.rows, oldest_seconds: row.oldest_seconds.unwrap_or(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_an_unknown_kind_or_without_json_still_leaves() {
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
