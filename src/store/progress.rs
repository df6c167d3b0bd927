//! The status and history of orders as customers see them, read in one query.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Double, Integer, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

/// An order's status and history.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The order.
    pub order_id: Uuid,
    /// Its status, by its name in the contract.
    pub status: String,
    /// The version of the last event folded into the status.
    pub version: i32,
    /// Whether a cancellation was requested.
    pub cancel_requested: bool,
    /// When it last changed, by the database's clock.
    pub updated_at: DateTime<Utc>,
    /// How long ago that was, in seconds, by the same clock. It is measured from the start of the transaction that
    /// changed it.
    pub age: f64,
    /// Its history up to `version`, from 1 without gaps.
    pub steps: Vec<Step>,
}

/// One event of an order's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its position in the history.
    pub version: i32,
    /// The event's id.
    pub event_id: Uuid,
    /// Its name: `payment.completed`. Text, since a newer program may have written a name that this one does not know.
    pub event: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Integer)]
    order_version: i32,
    #[diesel(sql_type = Bool)]
    cancel_requested: bool,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Double)]
    age: f64,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
}

/// `LIMIT` and `ORDER BY` keep the planner from joining whole tables: for a few thousand orders it would read both in
/// full. This way each order is one lookup by primary key, and the log is read only for the orders that moved.
const BEYOND: &str = "
SELECT o.id AS order_id, o.status, o.version AS order_version, o.cancel_requested, o.updated_at,
       extract(epoch FROM clock_timestamp() - o.updated_at)::float8 AS age,
       log.version, log.event_id, log.event, log.occurred_at
FROM unnest($1::uuid[], $2::int[]) AS known (id, version)
CROSS JOIN LATERAL (
    SELECT id, status, version, cancel_requested, updated_at FROM orders.orders
    WHERE orders.id = known.id AND orders.version > known.version LIMIT 1
) AS o
CROSS JOIN LATERAL (
    SELECT version, event_id, event, occurred_at FROM messaging.v_event_log AS log
    WHERE log.order_id = o.id AND log.version <= o.version ORDER BY version
) AS log
ORDER BY order_id, version";

/// Returns the orders newer than the given version, with status and history from the same snapshot.
///
/// Ids must be unique. Every order is newer than version 0. An order that does not exist is left out.
///
/// # Errors
/// Returns database errors.
pub async fn beyond(connection: &mut Connection, known: &[(Uuid, i32)]) -> Result<Vec<Progress>, StoreError> {
    let (ids, versions): (Vec<Uuid>, Vec<i32>) = known.iter().copied().unzip();
    let rows: Vec<Row> = diesel::sql_query(BEYOND)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Integer>, _>(versions)
        .load(connection)
        .await?;
    let mut found: Vec<Progress> = Vec::new();
    for row in rows {
        let step =
            Step { version: row.version, event_id: row.event_id, event: row.event, occurred_at: row.occurred_at };
        match found.last_mut() {
            Some(last) if last.order_id == row.order_id => last.steps.push(step),
            _ => found.push(Progress {
                order_id: row.order_id,
                status: row.status,
                version: row.order_version,
                cancel_requested: row.cancel_requested,
                updated_at: row.updated_at,
                age: row.age,
                steps: vec![step],
            }),
        }
    }
    Ok(found)
}
