//! Failed attempts and an index of the dead letters, for people. RabbitMQ stays the source of truth.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{
    QueryDsl as _, QueryableByName,
    dsl::max,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use uuid::Uuid;

use super::{Connection, StoreError, schema::messaging::dead_letters, text};

/// How long to keep failed attempts and the counts of republished deliveries.
const KEPT: &str = "90 days";

/// A failed attempt, and what happened to its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The event; `None` if the message is not an event of ours.
    pub event_id: Option<Uuid>,
    /// The subscription, which is also the queue's name.
    pub subscription: String,
    /// From 1.
    pub attempt: i32,
    /// Why; no personal data.
    pub reason: String,
    /// The process in which it failed.
    pub worker: String,
    /// When.
    pub failed_at: DateTime<Utc>,
    /// When the next attempt is due; `None` if the message was dead-lettered.
    pub retry_at: Option<DateTime<Utc>>,
}

const REMEMBER: &str = "
WITH fresh AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[])
        AS row (event_id, subscription, attempt, reason, worker, failed_at, retry_at)
), failed AS (
    INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at, retry_at)
    SELECT event_id, subscription, attempt, reason, worker, failed_at, retry_at FROM fresh
)
INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
SELECT event_id, subscription, attempt, reason, worker, failed_at FROM fresh WHERE retry_at IS NULL";

/// Of several waiting dead letters of one event and subscription, only the latest still exists.
const DIED_AGAIN: &str = "
UPDATE messaging.dead_letters AS older SET left_at = now(), left_by = 'died_again'
FROM unnest($1::uuid[], $2::text[]) AS fresh (event_id, subscription)
WHERE older.event_id = fresh.event_id AND older.subscription = fresh.subscription AND older.left_at IS NULL
  AND EXISTS (SELECT FROM messaging.dead_letters AS later
              WHERE later.event_id = older.event_id AND later.subscription = older.subscription
                AND later.left_at IS NULL AND later.id > older.id)";

/// Records failed attempts, and a dead letter for each without a next attempt. An older waiting dead letter of the same
/// event and subscription is marked as dead-lettered again. Runs in its own transaction.
///
/// # Errors
/// Returns database errors.
pub async fn remember(connection: &mut Connection, failed: &[FailedAttempt]) -> Result<(), StoreError> {
    // A reason may quote untrusted input.
    let texts =
        |of: fn(&FailedAttempt) -> &str| -> Vec<String> { failed.iter().map(|one| text::storable(of(one))).collect() };
    let dead = || failed.iter().filter(|one| one.retry_at.is_none());
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            diesel::sql_query(REMEMBER)
                .bind::<Array<Nullable<SqlUuid>>, _>(failed.iter().map(|one| one.event_id).collect::<Vec<_>>())
                .bind::<Array<Text>, _>(texts(|one| &one.subscription))
                .bind::<Array<Integer>, _>(failed.iter().map(|one| one.attempt).collect::<Vec<_>>())
                .bind::<Array<Text>, _>(texts(|one| &one.reason))
                .bind::<Array<Text>, _>(texts(|one| &one.worker))
                .bind::<Array<Timestamptz>, _>(failed.iter().map(|one| one.failed_at).collect::<Vec<_>>())
                .bind::<Array<Nullable<Timestamptz>>, _>(failed.iter().map(|one| one.retry_at).collect::<Vec<_>>())
                .execute(connection)
                .await?;
            if dead().next().is_some() {
                diesel::sql_query(DIED_AGAIN)
                    .bind::<Array<Nullable<SqlUuid>>, _>(dead().map(|one| one.event_id).collect::<Vec<_>>())
                    .bind::<Array<Text>, _>(dead().map(|one| one.subscription.as_str()).collect::<Vec<_>>())
                    .execute(connection)
                    .await?;
            }
            Ok(())
        })
        .await
}

/// Deletes up to `limit` attempts that failed more than 90 days ago, and up to as many counts of deliveries last
/// republished before then. Returns the larger of both numbers. Several processes may do so concurrently: none waits
/// for another.
///
/// # Errors
/// Returns database errors.
pub async fn forget_old(connection: &mut Connection, limit: i64) -> Result<usize, StoreError> {
    let attempts = diesel::sql_query(
        "DELETE FROM messaging.attempts WHERE id IN (
             SELECT id FROM messaging.attempts WHERE failed_at < now() - $2::text::interval
             ORDER BY failed_at LIMIT $1 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(KEPT)
    .execute(connection)
    .await?;
    let resent = diesel::sql_query(
        "DELETE FROM messaging.resent WHERE (event_id, subscription) IN (
             SELECT event_id, subscription FROM messaging.resent WHERE last_at < now() - $2::text::interval
             LIMIT $1 FOR UPDATE SKIP LOCKED
         )",
    )
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(KEPT)
    .execute(connection)
    .await?;
    Ok(attempts.max(resent))
}

/// A dead letter, as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeadLetterKey {
    /// The event; `None` if the message is not an event of ours.
    pub event_id: Option<Uuid>,
    /// The subscription in whose dead-letter queue it lies.
    pub subscription: String,
    /// When it was dead-lettered, according to its header. Identifies a dead letter that is not an event of ours.
    pub died_at: Option<DateTime<Utc>>,
}

/// How a command removed a dead letter from its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftBy {
    /// Replayed: sent to its work queue again.
    Replayed,
    /// Discarded; its body is in a file.
    Discarded,
}

/// Returns the number of the latest dead letter in the index; later ones have greater numbers.
///
/// # Errors
/// Returns database errors.
pub async fn last_death(connection: &mut Connection) -> Result<i64, StoreError> {
    let last: Option<i64> = dead_letters::table.select(max(dead_letters::id)).first(connection).await?;
    Ok(last.unwrap_or(0))
}

const LEAVE: &str = "
UPDATE messaging.dead_letters AS dead SET left_at = now(), left_by = $5
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS letter (event_id, subscription, died_at)
WHERE dead.left_at IS NULL AND dead.id <= $4 AND dead.subscription = letter.subscription
  AND (dead.event_id = letter.event_id
       OR dead.event_id IS NULL AND letter.event_id IS NULL AND dead.died_at = letter.died_at)";

/// Records that these dead letters have left their queues. Those dead-lettered after `last` (see [`last_death`]) are
/// different ones, even if they are the same events.
///
/// # Errors
/// Returns database errors.
pub async fn leave(
    connection: &mut Connection,
    keys: &[DeadLetterKey],
    by: LeftBy,
    last: i64,
) -> Result<(), StoreError> {
    let by = match by {
        LeftBy::Replayed => "replayed",
        LeftBy::Discarded => "discarded",
    };
    diesel::sql_query(LEAVE)
        .bind::<Array<Nullable<SqlUuid>>, _>(keys.iter().map(|one| one.event_id).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(keys.iter().map(|one| one.subscription.as_str()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Timestamptz>>, _>(keys.iter().map(|one| one.died_at).collect::<Vec<_>>())
        .bind::<BigInt, _>(last)
        .bind::<Text, _>(by)
        .execute(connection)
        .await?;
    Ok(())
}

/// A dead letter in the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, QueryableByName)]
pub struct Death {
    /// The event; `None` if the message is not an event of ours.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
    /// The subscription.
    #[diesel(sql_type = Text)]
    pub subscription: String,
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
}

/// Returns which of these were dead-lettered after `last` (see [`last_death`]). For messages that are not events of
/// ours, the index knows only that one of their subscription was.
///
/// # Errors
/// Returns database errors.
pub async fn died_since(
    connection: &mut Connection,
    last: i64,
    keys: &[DeadLetterKey],
) -> Result<HashSet<Death>, StoreError> {
    let rows: Vec<Death> = diesel::sql_query(
        "SELECT DISTINCT dead.event_id, dead.subscription, dead.reason
         FROM messaging.dead_letters AS dead
         JOIN unnest($1::uuid[], $2::text[]) AS letter (event_id, subscription)
           ON dead.subscription = letter.subscription AND dead.event_id IS NOT DISTINCT FROM letter.event_id
         WHERE dead.id > $3",
    )
    .bind::<Array<Nullable<SqlUuid>>, _>(keys.iter().map(|one| one.event_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(keys.iter().map(|one| one.subscription.as_str()).collect::<Vec<_>>())
    .bind::<BigInt, _>(last)
    .load(connection)
    .await?;
    Ok(rows.into_iter().collect())
}

/// The part of a failed attempt that a waiting operator needs.
#[derive(Debug, Clone, QueryableByName)]
pub struct LastFailure {
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// When the next attempt is due; `None` if the message was dead-lettered.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub retry_at: Option<DateTime<Utc>>,
}

/// Returns the latest attempt of this event and subscription that failed since then.
///
/// # Errors
/// Returns database errors.
pub async fn failed_since(
    connection: &mut Connection,
    event_id: Uuid,
    subscription: &str,
    since: DateTime<Utc>,
) -> Result<Option<LastFailure>, StoreError> {
    let rows: Vec<LastFailure> = diesel::sql_query(
        "SELECT reason, retry_at FROM messaging.attempts
         WHERE event_id = $1 AND subscription = $2 AND failed_at >= $3 ORDER BY id DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(event_id)
    .bind::<Text, _>(subscription)
    .bind::<Timestamptz, _>(since)
    .load(connection)
    .await?;
    Ok(rows.into_iter().next())
}

/// Returns how many messages of each subscription wait in a retry tier. Does not notice messages purged there by hand.
///
/// # Errors
/// Returns database errors.
pub async fn retrying(connection: &mut Connection) -> Result<HashMap<String, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        subscription: String,
        #[diesel(sql_type = BigInt)]
        messages: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT subscription, count(*) AS messages FROM messaging.attempts WHERE retry_at > now() GROUP BY subscription",
    )
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.subscription, row.messages)).collect())
}

/// A failed attempt, as monitoring pages show it.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct RecentFailure {
    /// The subscription, which is also the queue's name.
    #[diesel(sql_type = Text)]
    pub subscription: String,
    /// From 1.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub failed_at: DateTime<Utc>,
    /// When the next attempt is due; `None` if the message was dead-lettered.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub retry_at: Option<DateTime<Utc>>,
}

/// Returns the latest failed attempts, newest first.
///
/// # Errors
/// Returns database errors.
pub async fn recent(connection: &mut Connection, limit: i64) -> Result<Vec<RecentFailure>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT subscription, attempt, reason, failed_at, retry_at FROM messaging.attempts ORDER BY id DESC LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(connection)
    .await?)
}

/// Returns how many waiting dead letters the index has per subscription. Excludes dead letters whose event was applied
/// meanwhile, since they must have been moved by hand.
///
/// # Errors
/// Returns database errors.
pub async fn waiting(connection: &mut Connection) -> Result<HashMap<String, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        subscription: String,
        #[diesel(sql_type = BigInt)]
        messages: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT subscription, count(*) AS messages FROM messaging.dead_letters AS dead
         WHERE left_at IS NULL AND NOT EXISTS (
             SELECT FROM messaging.inbox AS inbox
             WHERE inbox.event_id = dead.event_id AND inbox.subscription = dead.subscription)
         GROUP BY subscription",
    )
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.subscription, row.messages)).collect())
}
