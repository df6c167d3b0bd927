//! Idempotency keys: an order and its key are written together, so neither exists alone while keys are kept.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::{
    audit::{FILE_IT, Rule},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::walk::Range;

/// The rules for idempotency keys.
pub const KEYS: [Rule; 2] = [
    Rule { name: "key-missing", remedy: FILE_IT },
    Rule {
        name: "order-lost",
        remedy: "its customer was notified that it was accepted: look for it in a backup or a replica, ask the customer to \
                 order again, and find out who deleted it",
    },
];

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The order has no key.
    NoKey,
    /// The key has no order.
    NoOrder,
}

/// An order without its key, or a key without its order.
#[derive(Debug, Clone, Copy)]
pub struct KeyRow {
    /// The order.
    pub order_id: Uuid,
    /// What is missing.
    pub trouble: Trouble,
}

/// Keys are kept for 24 hours. The last hour is left out, since its keys may be deleted while this query runs.
/// A key has the same time as its order. Keys are found by that time, since they have no index by order.
const QUERY: &str = "
SELECT id AS order_id, 'key' AS lacks FROM orders.orders AS placed
WHERE id > $1 AND id <= $2 AND created_at > now() - interval '23 hours' AND NOT EXISTS (
    SELECT FROM orders.idempotency_keys AS key
    WHERE key.created_at = placed.created_at AND key.order_id = placed.id OFFSET 0)
UNION ALL
SELECT order_id, 'order' FROM orders.idempotency_keys AS key
WHERE created_at > now() - interval '23 hours' AND order_id > $1 AND order_id <= $2
  AND created_at >= to_timestamp($3::bigint / 1000.0) - interval '1 minute'
  AND created_at <= to_timestamp($4::bigint / 1000.0) + interval '1 minute'
  AND NOT EXISTS (SELECT FROM orders.orders AS placed WHERE placed.id = key.order_id OFFSET 0)";

/// Returns the orders without a key and the keys without an order within the range.
///
/// # Errors
/// Returns database errors.
pub async fn troubles(connection: &mut Connection, range: Range) -> Result<Vec<KeyRow>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
        #[diesel(sql_type = Text)]
        lacks: String,
    }
    let (first, last) = range.milliseconds();
    let rows: Vec<Row> = diesel::sql_query(QUERY)
        .bind::<SqlUuid, _>(range.after)
        .bind::<SqlUuid, _>(range.upto)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(last)
        .load(connection)
        .await?;
    let trouble = |lacks: &str| if lacks == "key" { Trouble::NoKey } else { Trouble::NoOrder };
    Ok(rows.into_iter().map(|row| KeyRow { order_id: row.order_id, trouble: trouble(&row.lacks) }).collect())
}
