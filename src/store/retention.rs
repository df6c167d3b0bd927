//! Moves the history of finished orders from the event log and the inbox to the archive, and shows how much can go.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError, missing::ConsumedEvents};
use uuid::Uuid;

/// A UUIDv7 begins with 48 bits of milliseconds.
const TIME: u32 = 80;

/// A walk over the orders placed before a time, by id.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Orders placed after this time stay.
    pub horizon: DateTime<Utc>,
    /// The events that each subscription consumes. An order stays until they are all applied.
    pub consumed: ConsumedEvents,
    after: Uuid,
}

impl Walk {
    /// Creates a walk that begins with the oldest order.
    #[must_use]
    pub fn new(horizon: DateTime<Utc>, consumed: ConsumedEvents) -> Self {
        Self { horizon, consumed, after: Uuid::nil() }
    }

    /// Returns the next orders that have a history in the log, at most `limit`; an empty list at the end.
    ///
    /// # Errors
    /// Returns database errors. The next call then returns the same orders.
    pub async fn next(&mut self, connection: &mut Connection, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = SqlUuid)]
            order_id: Uuid,
        }
        let milliseconds = u128::try_from(self.horizon.timestamp_millis()).unwrap_or(0);
        let rows: Vec<Row> = diesel::sql_query(
            "SELECT DISTINCT order_id FROM messaging.event_log WHERE order_id > $1 AND order_id < $2
             ORDER BY order_id LIMIT $3",
        )
        .bind::<SqlUuid, _>(self.after)
        .bind::<SqlUuid, _>(Uuid::from_u128(milliseconds << TIME))
        .bind::<BigInt, _>(limit)
        .load(connection)
        .await?;
        let orders: Vec<Uuid> = rows.into_iter().map(|row| row.order_id).collect();
        self.after = orders.last().copied().unwrap_or(self.after);
        Ok(orders)
    }
}

/// How much a group of orders occupies in the log and the inbox.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Share {
    /// Why these orders stay, as `messaging.kept_in_log` names it; `None` if they can go.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The number of orders.
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    /// Their rows in the log.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// The size of these rows in bytes, without indexes.
    #[diesel(sql_type = BigInt)]
    pub event_bytes: i64,
    /// Their rows in the inbox.
    #[diesel(sql_type = BigInt)]
    pub applied: i64,
    /// The size of these rows in bytes, without indexes.
    #[diesel(sql_type = BigInt)]
    pub applied_bytes: i64,
    /// When the oldest of these events happened.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

const SHARES: &str = "
SELECT kept.reason, count(*) AS orders,
       coalesce(sum(log.rows), 0)::bigint AS events, coalesce(sum(log.bytes), 0)::bigint AS event_bytes,
       coalesce(sum(log.applied), 0)::bigint AS applied, coalesce(sum(log.applied_bytes), 0)::bigint AS applied_bytes,
       min(log.oldest) AS oldest
FROM messaging.kept_in_log($1, $2, $3, $4) AS kept
CROSS JOIN LATERAL (
    SELECT count(*) AS rows, sum(pg_column_size(event.*)) AS bytes, min(event.occurred_at) AS oldest,
           sum(inbox.rows) AS applied, sum(inbox.bytes) AS applied_bytes
    FROM messaging.event_log AS event
    CROSS JOIN LATERAL (
        SELECT count(*) AS rows, sum(pg_column_size(taken.*)) AS bytes
        FROM messaging.inbox AS taken WHERE taken.event_id = event.event_id
    ) AS inbox
    WHERE event.order_id = kept.order_id
) AS log
GROUP BY kept.reason";

/// Returns how many of these orders can go and how many stay, by reason.
///
/// # Errors
/// Returns database errors.
pub async fn shares(connection: &mut Connection, walk: &Walk, orders: &[Uuid]) -> Result<Vec<Share>, StoreError> {
    Ok(diesel::sql_query(SHARES)
        .bind::<Array<SqlUuid>, _>(orders)
        .bind::<Timestamptz, _>(walk.horizon)
        .bind::<Array<Text>, _>(&walk.consumed.events)
        .bind::<Array<Text>, _>(&walk.consumed.subscriptions)
        .load(connection)
        .await?)
}

/// How much was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct Moved {
    /// Orders.
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    /// Rows of the log.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Rows of the inbox, which are part of the archive's rows from now on.
    #[diesel(sql_type = BigInt)]
    pub applied: i64,
}

/// Moves the history of these orders to the archive, except for orders that have to stay. Moves all of it or none.
///
/// It is safe to repeat, and safe from several processes concurrently: each skips the orders that another is moving.
///
/// # Errors
/// Returns database errors, such as a missing privilege or a lock not obtained within two seconds.
pub async fn archive(connection: &mut Connection, walk: &Walk, orders: &[Uuid]) -> Result<Moved, StoreError> {
    Ok(diesel::sql_query(
        "SELECT moved_orders AS orders, moved_events AS events, moved_inbox AS applied
         FROM messaging.archive_orders($1, $2, $3, $4)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Timestamptz, _>(walk.horizon)
    .bind::<Array<Text>, _>(&walk.consumed.events)
    .bind::<Array<Text>, _>(&walk.consumed.subscriptions)
    .get_result(connection)
    .await?)
}
