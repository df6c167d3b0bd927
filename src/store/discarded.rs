//! Dead letters that operators discarded through /admin or the console, kept for 90 days in case one is needed again.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryDsl as _, Queryable, Selectable, SelectableHelper as _,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError, text};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::schema::operations::discarded;

/// How long discarded dead letters are kept.
const KEPT: &str = "90 days";

/// A discarded dead letter.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = discarded)]
pub struct Discarded {
    /// Increases with each row.
    pub discarded_id: i64,
    /// The request that discarded it; the action record has the same id.
    pub request_id: Uuid,
    /// When it was recorded, just before it was discarded.
    #[serde(with = "timestamp")]
    pub discarded_at: DateTime<Utc>,
    /// The message: headers and body.
    pub letter: Value,
}

/// Records these dead letters. Zero bytes are replaced, since the database rejects them.
///
/// # Errors
/// Returns database errors.
pub async fn keep(connection: &mut Connection, request_id: Uuid, dead_letters: &[Value]) -> Result<(), StoreError> {
    let rows: Vec<_> = dead_letters
        .iter()
        .map(|letter| (discarded::request_id.eq(request_id), discarded::letter.eq(text::storable_json(letter))))
        .collect();
    diesel::insert_into(discarded::table).values(rows).execute(connection).await?;
    Ok(())
}

/// Returns at most `limit` discarded dead letters, newest first. `before` limits them to smaller ids.
///
/// # Errors
/// Returns database errors.
pub async fn page(connection: &mut Connection, before: Option<i64>, limit: i64) -> Result<Vec<Discarded>, StoreError> {
    let older = discarded::table.filter(discarded::discarded_id.lt(before.unwrap_or(i64::MAX)));
    let newest = older.order(discarded::discarded_id.desc()).limit(limit);
    Ok(newest.select(Discarded::as_select()).load(connection).await?)
}

/// Deletes up to `limit` dead letters that were discarded more than 90 days ago. Returns how many it deleted.
///
/// # Errors
/// Returns database errors.
pub async fn forget_old(connection: &mut Connection, limit: i64) -> Result<usize, StoreError> {
    Ok(diesel::sql_query(
        "DELETE FROM operations.discarded WHERE discarded_id IN (
             SELECT discarded_id FROM operations.discarded WHERE discarded_at < now() - $2::text::interval
             ORDER BY discarded_at LIMIT $1 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(KEPT)
    .execute(connection)
    .await?)
}
