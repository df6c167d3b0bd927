//! Checks, for `orderflow doctor`, whether the database accepts the rows that front ends and workers write. Everything
//! is rolled back.

use diesel::{result::Error as DieselError, sql_types::Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_service::{
    store::{Connection, StoreError},
    telemetry,
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::services::roster;

/// A row for each table that an order writes to. Services provide the rows for their own tables
/// ([`TrialRow`](orderflow_service::service::TrialRow)).
const ROWS: &[(&str, &str)] = &[
    (
        "orders.idempotency_keys",
        "INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at)
         VALUES ('orderflow doctor ' || $1::text, '\\x00', $1, now())",
    ),
    // In one statement, since an item needs its order.
    (
        "orders.orders or orders.items",
        "WITH placed AS (
             INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email,
                                        address_line1, city, postal_code, country, payment_method, created_at, updated_at)
             VALUES ($1, 'orderflow doctor ' || $1::text, 'pending', 1, 0, 'EUR', '', '', '', '', '', '', '', now(), now())
         )
         INSERT INTO orders.items (order_id, line, sku, name, quantity, price) VALUES ($1, 1, '', '', 1, 0)",
    ),
    (
        "messaging.event_log",
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
         VALUES ($1, 1, $1, 'order.created', '', now(), $1, '{}')",
    ),
    (
        "messaging.outbox",
        "INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
         VALUES ($1, $1, 'order.created', '', now(), $1, '', now())",
    ),
    ("messaging.inbox", "INSERT INTO messaging.inbox (event_id, subscription) VALUES ($1, '')"),
    (
        "messaging.attempts",
        "INSERT INTO messaging.attempts (id, event_id, subscription, attempt, reason, worker, failed_at)
         OVERRIDING SYSTEM VALUE VALUES (-hashtext($1::text)::bigint - 2147483649, $1, '', 1, '', '', now())",
    ),
    (
        "messaging.dead_letters",
        "INSERT INTO messaging.dead_letters (id, event_id, subscription, attempt, reason, worker, died_at)
         OVERRIDING SYSTEM VALUE VALUES (-hashtext($1::text)::bigint - 2147483649, $1, '', 1, '', '', now())",
    ),
    ("messaging.resent", "INSERT INTO messaging.resent (event_id, subscription) VALUES ($1, '')"),
    (
        "messaging.queue_pace",
        "INSERT INTO messaging.queue_pace (worker, queue, measured_at, slots, in_hand, events_per_second,
                                           failures_per_second)
         VALUES ('orderflow doctor ' || $1::text, '', now(), 0, 0, 0, 0)",
    ),
];

/// About a megabyte of rows. Existing tables have free space inside, so only a new table shows that the disk is full.
const ROOM: (&str, &str) = (
    "a temporary table of one megabyte",
    "CREATE TEMPORARY TABLE orderflow_trial ON COMMIT DROP AS SELECT md5(i::text) FROM generate_series(1, 20000) AS i",
);

/// A session that locks a whole table for longer than this keeps orders waiting too.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be written to: {}", telemetry::chain(error))]
pub struct NotWritable {
    what: &'static str,
    /// The database's error.
    pub error: StoreError,
}

/// Writes what an order would write, in one transaction, and rolls it back.
///
/// It locks no existing row, and tables only as every insert does. Tables that this role may not write are skipped.
///
/// # Errors
/// Returns the first failed write, and why it failed.
pub async fn try_writing(connection: &mut Connection) -> Result<(), NotWritable> {
    let mut what = "the database";
    let tried = connection
        .transaction::<(), StoreError, _>(async |connection| {
            diesel::sql_query(LOCK_TIMEOUT).execute(connection).await?;
            let of_services = roster().services().flat_map(|service| service.writes);
            for (table, row) in ROWS.iter().copied().chain(of_services.map(|one| (one.table, one.insert))) {
                what = table;
                insert(connection, row).await?;
            }
            what = ROOM.0;
            if_permitted(diesel::sql_query(ROOM.1).execute(connection).await.map_err(StoreError::from))?;
            Err(DieselError::RollbackTransaction.into())
        })
        .await;
    match tried {
        Err(StoreError::Query(DieselError::RollbackTransaction)) | Ok(()) => Ok(()),
        Err(error) => Err(NotWritable { what, error }),
    }
}

/// Inserts one row behind a savepoint, so that a missing privilege does not end the transaction.
async fn insert(connection: &mut Connection, row: &str) -> Result<(), StoreError> {
    let inserted = connection
        .transaction::<usize, StoreError, _>(async |connection| {
            Ok(diesel::sql_query(row).bind::<SqlUuid, _>(Uuid::now_v7()).execute(connection).await?)
        })
        .await;
    if_permitted(inserted)
}

fn if_permitted(outcome: Result<usize, StoreError>) -> Result<(), StoreError> {
    match outcome {
        Err(error) if error.state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(()),
        other => other.map(drop),
    }
}
