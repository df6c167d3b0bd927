//! What happened to an order, and what is in progress: the log, the outbox, the inbox and failures.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use uuid::Uuid;

use super::MOST;

/// One event of the order's history.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Event {
    /// Its position in the history, from 1 without gaps.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Its name: `payment.completed`. Text, since a newer program may have written a name that this one does not know.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// The event's id.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// When it happened, by the clock of the program that wrote it.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub occurred_at: DateTime<Utc>,
    /// Milliseconds since the previous event; `None` for the first. Negative if the clocks of two hosts differ.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub gap_ms: Option<i64>,
    /// The service that wrote it: `/orderflow/payment`.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// The event that led to this one.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub causation_id: Option<Uuid>,
    /// The id of the request that placed the order.
    #[diesel(sql_type = SqlUuid)]
    pub correlation_id: Uuid,
    /// W3C trace context.
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
    /// The event's data. The contract allows no personal data in it.
    #[diesel(sql_type = Jsonb)]
    pub data: serde_json::Value,
    /// Whether it is in the archive. Nobody has to apply an archived event, not even a service registered later.
    #[diesel(sql_type = Bool)]
    #[serde(skip)]
    pub archived: bool,
}

/// Returns the order's history, oldest first.
///
/// # Errors
/// Returns database errors.
pub async fn events(connection: &mut Connection, order: Uuid) -> Result<Vec<Event>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT version, event, event_id, occurred_at, source, causation_id, correlation_id, traceparent, data, archived,
                (extract(epoch FROM occurred_at - lag(occurred_at) OVER (ORDER BY version)) * 1000)::bigint AS gap_ms
         FROM messaging.v_event_log WHERE order_id = $1 ORDER BY version LIMIT $2",
    )
    .bind::<SqlUuid, _>(order)
    .bind::<BigInt, _>(MOST)
    .load(connection)
    .await?)
}

/// A subscription that has applied an event.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Applied {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// The subscription, by its queue's name.
    #[diesel(sql_type = Text)]
    pub subscription: String,
}

/// Returns which subscriptions have applied which of the order's events.
///
/// # Errors
/// Returns database errors.
pub async fn applied(connection: &mut Connection, order: Uuid) -> Result<Vec<Applied>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT inbox.event_id, inbox.subscription
         FROM messaging.event_log AS log JOIN messaging.inbox AS inbox USING (event_id) WHERE log.order_id = $1
         UNION ALL
         SELECT event_id, unnest(applied) FROM messaging.event_archive WHERE order_id = $1",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}

/// An event that the broker has not confirmed yet.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Waiting {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When the relay of any process of its service may publish it.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub available_at: DateTime<Utc>,
    /// How many times a relay has leased it so far.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
}

/// Returns the order's events that the broker has not confirmed, oldest first.
///
/// # Errors
/// Returns database errors.
pub async fn outbox(connection: &mut Connection, order: Uuid) -> Result<Vec<Waiting>, StoreError> {
    // The outbox has no index by order. Its key is the event id, so rows are found by the ids of the order's events.
    Ok(diesel::sql_query(
        "SELECT event_id, event, created_at, available_at, attempts FROM messaging.outbox
         WHERE event_id IN (SELECT event_id FROM messaging.v_event_log WHERE order_id = $1)
         ORDER BY created_at, event_id",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}

/// A failed attempt to handle an event.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Attempt {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// The subscription, by its queue's name.
    #[diesel(sql_type = Text)]
    pub subscription: String,
    /// The number of the attempt, from 1. It starts at 1 again when a dead letter is replayed.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// Why it failed.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// The process where it failed.
    #[diesel(sql_type = Text)]
    pub worker: String,
    /// When it failed.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub failed_at: DateTime<Utc>,
    /// When the next attempt is due; `None` if the message was dead-lettered.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(with = "timestamp::optional")]
    pub retry_at: Option<DateTime<Utc>>,
}

/// Returns the failed attempts, oldest first. If there are more than 1,000, returns the newest.
///
/// # Errors
/// Returns database errors.
pub async fn attempts(connection: &mut Connection, order: Uuid) -> Result<Vec<Attempt>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT event_id, event, subscription, attempt, reason, worker, failed_at, retry_at FROM (
             SELECT attempts.*, log.event FROM messaging.attempts
             JOIN messaging.v_event_log AS log USING (event_id)
             WHERE log.order_id = $1 ORDER BY failed_at DESC, id DESC LIMIT $2
         ) AS newest ORDER BY failed_at, id",
    )
    .bind::<SqlUuid, _>(order)
    .bind::<BigInt, _>(MOST)
    .load(connection)
    .await?)
}

/// A dead letter, and what became of it.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct DeadLetter {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// The subscription, by its work queue's name.
    #[diesel(sql_type = Text)]
    pub subscription: String,
    /// How many attempts there were.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// Why the last attempt failed.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// The process where it failed.
    #[diesel(sql_type = Text)]
    pub worker: String,
    /// When it was dead-lettered.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub died_at: DateTime<Utc>,
    /// When it was taken out of the dead-letter queue.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(skip)]
    pub left_at: Option<DateTime<Utc>>,
    /// How it left: `replayed`, `discarded`, `died_again`, or, if it was purged by hand, `republished` or `purged`.
    #[diesel(sql_type = Nullable<Text>)]
    #[serde(skip)]
    pub left_by: Option<String>,
}

/// Returns the order's dead letters, oldest first, including those that have left their queue. A dead letter is left
/// out if its event was applied after all: an operator moved it by hand.
///
/// # Errors
/// Returns database errors.
pub async fn dead_letters(connection: &mut Connection, order: Uuid) -> Result<Vec<DeadLetter>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT letter.event_id, log.event, letter.subscription, letter.attempt, letter.reason, letter.worker,
                letter.died_at, letter.left_at, letter.left_by
         FROM messaging.dead_letters AS letter JOIN messaging.v_event_log AS log USING (event_id)
         WHERE log.order_id = $1 AND NOT EXISTS (
             SELECT FROM messaging.inbox AS inbox
             WHERE inbox.event_id = letter.event_id AND inbox.subscription = letter.subscription)
         AND NOT EXISTS (
             SELECT FROM messaging.event_archive AS archived
             WHERE archived.event_id = letter.event_id AND letter.subscription = ANY (archived.applied))
         ORDER BY letter.died_at, letter.id LIMIT $2",
    )
    .bind::<SqlUuid, _>(order)
    .bind::<BigInt, _>(MOST)
    .load(connection)
    .await?)
}
