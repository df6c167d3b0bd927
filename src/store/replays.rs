//! Replays of dead letters that operators have asked for, and how far each is: read by any process, written by the one
//! that does it.

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

/// One that was not written for so long has ended with its process, which writes once a second.
const BELIEVED: &str = "1 minute";

/// Why a replay that nobody wrote any more has ended.
const GONE: &str = "the process that did it has ended; what it had not sent is in the dead-letter queue";

/// One that begins.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = replays)]
pub struct NewReplay<'a> {
    /// UUIDv7.
    pub replay_id: Uuid,
    /// The work queue.
    pub queue: &'a str,
    /// Who asked for it.
    pub who: &'a str,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// What was asked for.
    pub selection: &'a Value,
    /// `running`.
    pub state: &'a str,
}

/// How many messages are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// That were chosen.
    pub selected: i32,
    /// That were sent.
    pub sent: i32,
    /// That were applied since.
    pub applied: i32,
    /// That died again since.
    pub died_again: i32,
}

/// One replay.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = replays)]
pub struct Replay {
    /// UUIDv7.
    pub replay_id: Uuid,
    /// The work queue.
    pub queue: String,
    /// Who asked for it.
    pub who: String,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// What was asked for.
    pub selection: Value,
    /// `running`; `done`: all were sent and none died again; `stopped`: something died again or was not applied in time;
    /// `failed`: something could not be reached; `abandoned`: its process ended.
    pub state: String,
    /// Messages that were chosen.
    pub selected: i32,
    /// Of these, sent.
    pub sent: i32,
    /// Of these, applied so far.
    pub applied: i32,
    /// Of these, dead again.
    pub died_again: i32,
    /// Why it ended before all were sent.
    pub reason: Option<String>,
    /// By the database's clock, as the others.
    #[serde(with = "timestamp")]
    pub started_at: DateTime<Utc>,
    /// When it was last written.
    #[serde(with = "timestamp")]
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "timestamp::optional")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// Whether a running replay of this queue, or of any, is not written any more.
fn is_given_up() -> diesel::expression::SqlLiteral<Bool> {
    sql::<Bool>(&format!("state = 'running' AND updated_at < clock_timestamp() - interval '{BELIEVED}'"))
}

/// Ends those whose process is gone. Whoever looks or begins does so first.
///
/// # Errors
/// Those of the database.
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

/// Begins one, unless one of its queue is running: then that one's id is the answer.
///
/// # Errors
/// Those of the database.
pub async fn begin(connection: &mut Connection, replay: &NewReplay<'_>) -> Result<Result<(), Uuid>, StoreError> {
    give_up_the_dead(connection).await?;
    let begun = diesel::insert_into(replays::table).values(replay).on_conflict_do_nothing().execute(connection).await?;
    if begun == 1 {
        return Ok(Ok(()));
    }
    let running = replays::table.filter(replays::queue.eq(replay.queue)).filter(replays::state.eq("running"));
    let other: Option<Uuid> = running.select(replays::replay_id).first(connection).await.optional()?;
    // It may just have ended: whoever asks again begins.
    Ok(Err(other.unwrap_or_default()))
}

/// Writes how far it is. Whether it still is the one that runs: another process may have given it up.
///
/// # Errors
/// Those of the database.
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

/// Writes how it ended, after a last [`progress`].
///
/// # Errors
/// Those of the database.
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

/// One.
///
/// # Errors
/// Those of the database.
pub async fn get(connection: &mut Connection, replay_id: Uuid) -> Result<Option<Replay>, StoreError> {
    give_up_the_dead(connection).await?;
    Ok(replays::table.find(replay_id).select(Replay::as_select()).first(connection).await.optional()?)
}

/// The newest first, at most `limit`; older than this one where there is one.
///
/// # Errors
/// Those of the database.
pub async fn page(connection: &mut Connection, before: Option<Uuid>, limit: i64) -> Result<Vec<Replay>, StoreError> {
    give_up_the_dead(connection).await?;
    let older = replays::table.filter(replays::replay_id.lt(before.unwrap_or(Uuid::max())));
    Ok(older.order(replays::replay_id.desc()).limit(limit).select(Replay::as_select()).load(connection).await?)
}
