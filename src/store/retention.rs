//! What of finished orders can leave the event log and the inbox for the archive, and moving it there.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError, missing::Taken};
use uuid::Uuid;

/// A UUIDv7 begins with 48 bits of milliseconds.
const TIME: u32 = 80;

/// Which orders are looked at: those whose id is of before this time, in the order of their ids.
#[derive(Debug, Clone)]
pub struct Walk {
    /// What is younger stays.
    pub horizon: DateTime<Utc>,
    /// What subscriptions take: an order of which they have not applied everything stays.
    pub taken: Taken,
    after: Uuid,
}

impl Walk {
    /// Begins with the oldest order.
    #[must_use]
    pub fn new(horizon: DateTime<Utc>, taken: Taken) -> Self {
        Self { horizon, taken, after: Uuid::nil() }
    }

    /// Returns the next orders that have a history in the log, at most `limit`; none at the end.
    ///
    /// # Errors
    /// Those of the database; the same orders come next then.
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

/// How much some orders have in the log and the inbox.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Share {
    /// Why these orders stay, as `messaging.kept_in_log` names it; none where they can go.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How many orders.
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    /// Their rows in the log.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// The size of these, without indexes.
    #[diesel(sql_type = BigInt)]
    pub event_bytes: i64,
    /// Their rows in the inbox.
    #[diesel(sql_type = BigInt)]
    pub applied: i64,
    /// The size of these, without indexes.
    #[diesel(sql_type = BigInt)]
    pub applied_bytes: i64,
    /// When the first of the events happened.
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

/// Returns which of these orders can go and which stay, by reason.
///
/// # Errors
/// Those of the database.
pub async fn shares(connection: &mut Connection, walk: &Walk, orders: &[Uuid]) -> Result<Vec<Share>, StoreError> {
    Ok(diesel::sql_query(SHARES)
        .bind::<Array<SqlUuid>, _>(orders)
        .bind::<Timestamptz, _>(walk.horizon)
        .bind::<Array<Text>, _>(&walk.taken.events)
        .bind::<Array<Text>, _>(&walk.taken.subscriptions)
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

/// Moves the history of those of these orders that nothing keeps to the archive, all or nothing. Safe to repeat, and from several
/// processes at once: what one of them has in hand, the others leave out.
///
/// # Errors
/// Those of the database, such as that the role may not, or that a lock could not be had within two seconds.
pub async fn archive(connection: &mut Connection, walk: &Walk, orders: &[Uuid]) -> Result<Moved, StoreError> {
    Ok(diesel::sql_query(
        "SELECT moved_orders AS orders, moved_events AS events, moved_inbox AS applied
         FROM messaging.archive_orders($1, $2, $3, $4)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Timestamptz, _>(walk.horizon)
    .bind::<Array<Text>, _>(&walk.taken.events)
    .bind::<Array<Text>, _>(&walk.taken.subscriptions)
    .get_result(connection)
    .await?)
}
