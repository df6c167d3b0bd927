//! How fast each worker process works each queue, as the processes report it: for people without Prometheus.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Double, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, Prepare as _, StoreError};

/// Older rows are ignored: a process writes six times as often, so it has ended or is cut off.
const STALE_AFTER: &str = "1 minute";

/// One process's pace on one queue. Rates and means cover its last half minute.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct Pace {
    /// The work queue.
    #[diesel(sql_type = Text)]
    pub queue: String,
    /// The most events that the process has in hand; 0 while it does not work the queue.
    #[diesel(sql_type = Integer)]
    pub slots: i32,
    /// Events in hand.
    #[diesel(sql_type = Integer)]
    pub in_hand: i32,
    /// Events finished per second, whatever their outcome.
    #[diesel(sql_type = Double)]
    pub events_per_second: f64,
    /// Failed attempts per second: retries and dead letters.
    #[diesel(sql_type = Double)]
    pub failures_per_second: f64,
    /// The mean time of an event in hand, in seconds; while none is handled, the last measured value.
    #[diesel(sql_type = Nullable<Double>)]
    pub processing_seconds: Option<f64>,
    /// The mean time from an event to its first attempt, in seconds; `None` without a first attempt.
    #[diesel(sql_type = Nullable<Double>)]
    pub lag_seconds: Option<f64>,
}

/// A process's pace, and when it was measured.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct Measured {
    /// The process: `@host 4711 1f0c2a3b`.
    #[diesel(sql_type = Text)]
    pub worker: String,
    /// By the database's clock.
    #[diesel(sql_type = Timestamptz)]
    pub measured_at: DateTime<Utc>,
    /// Its measurements.
    #[diesel(embed)]
    pub pace: Pace,
}

/// The deleted rows belong to other processes and are locked by nobody, so no process waits for another.
const WRITE: &str = "
WITH old AS (
    DELETE FROM messaging.queue_pace WHERE (worker, queue) IN (
        SELECT worker, queue FROM messaging.queue_pace
        WHERE worker <> $1 AND measured_at < now() - $9::text::interval FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO messaging.queue_pace (worker, queue, measured_at, slots, in_hand, events_per_second, failures_per_second,
                                  processing_seconds, lag_seconds)
SELECT $1, queue, now(), slots, in_hand, events_per_second, failures_per_second, processing_seconds, lag_seconds
FROM unnest($2::text[], $3::int[], $4::int[], $5::float8[], $6::float8[], $7::float8[], $8::float8[])
    AS row (queue, slots, in_hand, events_per_second, failures_per_second, processing_seconds, lag_seconds)
ON CONFLICT (worker, queue) DO UPDATE SET
    measured_at = excluded.measured_at, slots = excluded.slots, in_hand = excluded.in_hand,
    events_per_second = excluded.events_per_second, failures_per_second = excluded.failures_per_second,
    processing_seconds = excluded.processing_seconds, lag_seconds = excluded.lag_seconds";

/// Writes a process's pace on all its queues, replacing what it wrote before, and deletes outdated rows. One statement.
///
/// # Errors
/// Returns database errors.
pub async fn write(connection: &mut Connection, worker: &str, paces: &[Pace]) -> Result<(), StoreError> {
    fn column<'p, T>(paces: &'p [Pace], of: impl Fn(&'p Pace) -> T) -> Vec<T> {
        paces.iter().map(of).collect()
    }
    diesel::sql_query(WRITE)
        .bind::<Text, _>(worker)
        .bind::<Array<Text>, _>(column(paces, |pace| pace.queue.as_str()))
        .bind::<Array<Integer>, _>(column(paces, |pace| pace.slots))
        .bind::<Array<Integer>, _>(column(paces, |pace| pace.in_hand))
        .bind::<Array<Double>, _>(column(paces, |pace| pace.events_per_second))
        .bind::<Array<Double>, _>(column(paces, |pace| pace.failures_per_second))
        .bind::<Array<Nullable<Double>>, _>(column(paces, |pace| pace.processing_seconds))
        .bind::<Array<Nullable<Double>>, _>(column(paces, |pace| pace.lag_seconds))
        .bind::<Text, _>(STALE_AFTER)
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes the rows of a process that is about to end.
///
/// # Errors
/// Returns database errors; the rows expire within a minute anyway.
pub async fn forget(connection: &mut Connection, worker: &str) -> Result<(), StoreError> {
    diesel::sql_query("DELETE FROM messaging.queue_pace WHERE worker = $1")
        .bind::<Text, _>(worker)
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns what every process measured within the last minute.
///
/// # Errors
/// Returns database errors.
pub async fn recent(connection: &mut Connection) -> Result<Vec<Measured>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT worker, measured_at, queue, slots, in_hand, events_per_second, failures_per_second, processing_seconds,
                lag_seconds
         FROM messaging.queue_pace WHERE measured_at >= now() - $1::text::interval ORDER BY queue, worker",
    )
    .bind::<Text, _>(STALE_AFTER)
    .prepared()
    .load(connection)
    .await?)
}
