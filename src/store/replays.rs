//! Replays of dead letters that operators requested, and the progress of each. Any process reads a replay; only the
//! process that runs it writes it.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, Insertable, OptionalExtension as _, QueryDsl as _, Queryable, Selectable,
    SelectableHelper as _,
    dsl::sql,
    sql_types::{Bool, Nullable, Timestamptz},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::schema::operations::replays;

/// A running replay writes once a second. If it has not written for this long, its process has ended.
const STALE_AFTER: &str = "1 minute";

/// The reason given for an abandoned replay.
const GONE: &str = "the process that ran it has ended; messages not yet replayed remain in the dead-letter queue";

/// A replay to start.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = replays)]
pub struct NewReplay<'a> {
    /// UUIDv7.
    pub replay_id: Uuid,
    /// The work queue.
    pub queue: &'a str,
    /// The operator who requested it.
    pub who: &'a str,
    /// The HTTP request that started it.
    pub request_id: Uuid,
    /// Which messages were requested.
    pub selection: &'a Value,
    /// `running`.
    pub state: &'a str,
}

/// The progress of a replay, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages selected.
    pub selected: i32,
    /// Messages replayed.
    pub sent: i32,
    /// Messages applied since.
    pub applied: i32,
    /// Messages dead-lettered again since.
    pub died_again: i32,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = replays)]
pub struct Replay {
    /// UUIDv7.
    pub replay_id: Uuid,
    /// The work queue.
    pub queue: String,
    /// The operator who requested it.
    pub who: String,
    /// The HTTP request that started it.
    pub request_id: Uuid,
    /// Which messages were requested.
    pub selection: Value,
    /// `running`; `done`: all were replayed and none was dead-lettered again; `stopped`: one was dead-lettered again or
    /// not applied in time, or the process was shut down; `failed`: RabbitMQ or the database was unreachable;
    /// `abandoned`: its process ended without writing how the replay ended.
    pub state: String,
    /// Messages selected.
    pub selected: i32,
    /// The selected messages replayed so far.
    pub sent: i32,
    /// The replayed messages applied so far.
    pub applied: i32,
    /// The replayed messages dead-lettered again.
    pub died_again: i32,
    /// Why it ended before all were replayed.
    pub reason: Option<String>,
    /// When it started. All times are by the database's clock.
    #[serde(with = "timestamp")]
    pub started_at: DateTime<Utc>,
    /// When it was last written.
    #[serde(with = "timestamp")]
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "timestamp::optional")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// Selects the replays that are marked as running but no longer written.
fn is_given_up() -> diesel::expression::SqlLiteral<Bool> {
    sql::<Bool>(&format!("state = 'running' AND updated_at < clock_timestamp() - interval '{STALE_AFTER}'"))
}

/// Marks replays as abandoned if their process has ended. Callers do this before they read or begin a replay.
///
/// # Errors
/// Returns database errors.
pub async fn give_up_the_dead(connection: &mut Connection) -> Result<(), StoreError> {
    diesel::update(replays::table.filter(is_given_up()))
        .set((
            replays::state.eq("abandoned"),
            replays::reason.eq(GONE),
            replays::ended_at.eq(sql::<Nullable<Timestamptz>>("clock_timestamp()")),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Begins a replay, unless one is already running for its queue: then returns the id of that one, or nil if it has just
/// ended.
///
/// # Errors
/// Returns database errors.
pub async fn begin(connection: &mut Connection, replay: &NewReplay<'_>) -> Result<Result<(), Uuid>, StoreError> {
    give_up_the_dead(connection).await?;
    let begun = diesel::insert_into(replays::table).values(replay).on_conflict_do_nothing().execute(connection).await?;
    if begun == 1 {
        return Ok(Ok(()));
    }
    let running = replays::table.filter(replays::queue.eq(replay.queue)).filter(replays::state.eq("running"));
    let other: Option<Uuid> = running.select(replays::replay_id).first(connection).await.optional()?;
    // The other replay may have ended since the insert; the next attempt succeeds.
    Ok(Err(other.unwrap_or_default()))
}

/// Writes the progress of a replay. Returns false if it is no longer running: another process may have marked it as
/// abandoned.
///
/// # Errors
/// Returns database errors.
pub async fn progress(connection: &mut Connection, replay_id: Uuid, counts: Counts) -> Result<bool, StoreError> {
    let running = replays::table.find(replay_id).filter(replays::state.eq("running"));
    let written = diesel::update(running)
        .set((
            replays::selected.eq(counts.selected),
            replays::sent.eq(counts.sent),
            replays::applied.eq(counts.applied),
            replays::died_again.eq(counts.died_again),
            replays::updated_at.eq(sql::<Timestamptz>("clock_timestamp()")),
        ))
        .execute(connection)
        .await?;
    Ok(written == 1)
}

/// Writes how a replay ended, after a last [`progress`].
///
/// # Errors
/// Returns database errors.
pub async fn end(
    connection: &mut Connection,
    replay_id: Uuid,
    state: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    diesel::update(replays::table.find(replay_id).filter(replays::state.eq("running")))
        .set((
            replays::state.eq(state),
            replays::reason.eq(reason),
            replays::ended_at.eq(sql::<Nullable<Timestamptz>>("clock_timestamp()")),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns a replay, or `None` if there is no such replay.
///
/// # Errors
/// Returns database errors.
pub async fn get(connection: &mut Connection, replay_id: Uuid) -> Result<Option<Replay>, StoreError> {
    give_up_the_dead(connection).await?;
    Ok(replays::table.find(replay_id).select(Replay::as_select()).first(connection).await.optional()?)
}

/// Returns at most `limit` replays, newest first. `before` limits them to older replays.
///
/// # Errors
/// Returns database errors.
pub async fn page(connection: &mut Connection, before: Option<Uuid>, limit: i64) -> Result<Vec<Replay>, StoreError> {
    give_up_the_dead(connection).await?;
    let older = replays::table.filter(replays::replay_id.lt(before.unwrap_or(Uuid::max())));
    Ok(older.order(replays::replay_id.desc()).limit(limit).select(Replay::as_select()).load(connection).await?)
}
