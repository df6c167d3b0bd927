//! Idempotency keys: which request placed which order, so that a repeated request gets the same answer.
//!
//! No answer is stored, since the order's row is enough to rebuild it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};
use uuid::Uuid;

/// The minimum time that a key is kept.
const KEPT: &str = "24 hours";

/// SHA-256 of a request as parsed.
pub type Fingerprint = [u8; 32];

/// A request's claim to a key and its order.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The client's key for the request.
    pub key: &'a str,
    /// Distinguishes a repetition from another request with the same key.
    pub fingerprint: &'a Fingerprint,
    /// The order that the request would place.
    pub order_id: Uuid,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
}

/// Claims keys in the caller's transaction and returns those that had not been claimed before.
///
/// It waits for a concurrent claim of another transaction, up to the lock time-out. Keys are always claimed in the same
/// order, so that overlapping batches cannot deadlock.
///
/// # Errors
/// Returns database errors.
pub async fn claim(connection: &mut Connection, claims: &[Claim<'_>]) -> Result<HashSet<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Claimed {
        #[diesel(sql_type = Text)]
        key: String,
    }
    let mut sorted: Vec<&Claim<'_>> = claims.iter().collect();
    sorted.sort_unstable_by_key(|claim| claim.key);
    let claimed: Vec<Claimed> = diesel::sql_query(
        "INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at)
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::timestamptz[])
         ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind::<Array<Text>, _>(sorted.iter().map(|claim| claim.key).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(sorted.iter().map(|claim| claim.fingerprint.as_slice()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(sorted.iter().map(|claim| claim.order_id).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(sorted.iter().map(|claim| claim.created_at).collect::<Vec<_>>())
    .prepared()
    .load(connection)
    .await?;
    Ok(claimed.into_iter().map(|row| row.key).collect())
}

/// A claimed key: the request that claimed it, and the order that it placed.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Stored {
    /// The key.
    #[diesel(sql_type = Text)]
    pub key: String,
    /// SHA-256 of the request that claimed it.
    #[diesel(sql_type = Binary)]
    pub fingerprint: Vec<u8>,
    /// The order.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// Its number.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// Its total, in minor units.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// When it was placed.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// Returns what is stored for these keys. An unknown key is left out.
///
/// # Errors
/// Returns database errors.
pub async fn find(connection: &mut Connection, keys: &[&str]) -> Result<Vec<Stored>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(diesel::sql_query(
        "SELECT key, fingerprint, placed.id AS order_id, number, total, currency, placed.created_at
         FROM orders.idempotency_keys AS claimed JOIN orders.orders AS placed ON placed.id = claimed.order_id
         WHERE key = ANY($1)",
    )
    .bind::<Array<Text>, _>(keys)
    .prepared()
    .load(connection)
    .await?)
}

/// Makes the rest of the caller's transaction wait only briefly for each lock, so that one blocked key does not delay
/// the others for long.
///
/// # Errors
/// Returns database errors.
pub async fn wait_briefly(connection: &mut Connection) -> Result<(), StoreError> {
    diesel::sql_query("SET LOCAL lock_timeout = '200ms'").prepared().execute(connection).await?;
    Ok(())
}

/// Takes the table lock that claiming needs. Once this succeeds, a later wait can only be for a key.
///
/// # Errors
/// Returns database errors.
pub async fn lock_table(connection: &mut Connection) -> Result<(), StoreError> {
    diesel::sql_query("LOCK TABLE orders.idempotency_keys IN ROW EXCLUSIVE MODE")
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes up to `limit` keys older than 24 hours, oldest first, and returns how many it deleted. Several processes may
/// do so concurrently without waiting for each other.
///
/// # Errors
/// Returns database errors.
pub async fn forget_old(connection: &mut Connection, limit: i64) -> Result<usize, StoreError> {
    Ok(diesel::sql_query(
        "DELETE FROM orders.idempotency_keys WHERE key IN (
             SELECT key FROM orders.idempotency_keys WHERE created_at < now() - $2::text::interval
             ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(KEPT)
    .execute(connection)
    .await?)
}
