//! Detects a connection pooler that Orderflow cannot work with.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{Bool, Integer, Text},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use tokio_postgres::error::SqlState;

use super::{ANSWER_WITHIN, Connection, Database, Prepare as _, StoreError};

/// The number of tests whether prepared statements are carried. One is not enough, since the pooler chooses the session
/// of each transaction.
const CARRIED: usize = 3;

/// PgBouncer assigns a session within milliseconds, unless it has no other one.
const CARRIED_WITHIN: Duration = Duration::from_secs(2);

/// The fault of a connection pooler between us and PostgreSQL, such as PgBouncer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pooler {
    /// It refuses connections that request settings.
    #[error(
        "the pooler at DATABASE_URL refuses the time-outs that every connection requests: connect to PostgreSQL itself, or use the \
         pooler's transaction mode and set DATABASE_DIRECT_URL to PostgreSQL itself"
    )]
    RefusesSettings,
    /// It accepts connections and drops the settings.
    #[error(
        "a pooler at DATABASE_URL drops the time-outs that every connection requests (statement_timeout, lock_timeout, \
         idle_in_transaction_session_timeout): connect to PostgreSQL itself; or use the pooler's transaction mode and set \
         DATABASE_DIRECT_URL to PostgreSQL itself; or its session mode, and set them by ALTER ROLE ... SET"
    )]
    DropsSettings,
    /// Two connections to it share one session.
    #[error(
        "a pooler at DATABASE_URL works in transaction mode, which mixes up sessions: set DATABASE_DIRECT_URL to \
         PostgreSQL itself, for work that needs its own session, or connect to PostgreSQL itself"
    )]
    MixesSessions,
    /// It does not carry prepared statements, although `DATABASE_PREPARED` says so.
    #[error(
        "the pooler at DATABASE_URL does not carry prepared statements: set DATABASE_PREPARED=off, or use PgBouncer 1.21 or newer with \
         max_prepared_statements above 0"
    )]
    CarriesNoStatements,
    /// Work with and without a session of its own would run in different databases.
    #[error(
        "DATABASE_DIRECT_URL leads to another database than DATABASE_URL: both must name the same one on the same server"
    )]
    LeadsElsewhere,
    /// The direct address leads to a pooler too.
    #[error(
        "DATABASE_DIRECT_URL leads to a pooler, which refuses or drops what a session requests: it must name PostgreSQL itself"
    )]
    IsNotDirect,
}

impl Pooler {
    /// Returns the pooler that caused this error. `is_pooled` states whether a pooler in transaction mode was expected.
    /// PostgreSQL itself accepts all settings that we request, and a session of its own has exactly the statements that
    /// we prepared in it.
    #[must_use]
    pub fn behind(error: &StoreError, is_pooled: bool) -> Option<Self> {
        match *error.state()? {
            SqlState::PROTOCOL_VIOLATION if is_pooled && matches!(error, StoreError::Pool(_)) => {
                Some(Self::IsNotDirect)
            }
            SqlState::PROTOCOL_VIOLATION if matches!(error, StoreError::Pool(_)) => Some(Self::RefusesSettings),
            SqlState::UNDEFINED_PSTATEMENT | SqlState::DUPLICATE_PSTATEMENT if is_pooled => {
                Some(Self::CarriesNoStatements)
            }
            SqlState::UNDEFINED_PSTATEMENT | SqlState::DUPLICATE_PSTATEMENT => Some(Self::MixesSessions),
            _ => None,
        }
    }
}

/// Searches for a pooler that Orderflow cannot work with. Uses two connections concurrently, if PostgreSQL allows two.
///
/// # Errors
/// Returns database errors.
pub async fn find_pooler(database: &Database) -> Result<Option<Pooler>, StoreError> {
    if database.is_pooled() {
        return compare_direct(database).await;
    }
    let (one, other, again) = database
        .run(ANSWER_WITHIN, async |first: &mut Connection| {
            let one = Session::of(first).await?;
            // Another connection, because the first is in use.
            let second = async |second: &mut Connection| Session::of(second).await;
            let other = match database.run(ANSWER_WITHIN, second).await {
                Err(StoreError::Pool(_) | StoreError::NoConnectionLeft) => None,
                other => Some(other?),
            };
            Ok::<_, StoreError>((one, other, Session::of(first).await?))
        })
        .await?;
    // PostgreSQL has one process per connection, the same one for the connection's whole life.
    Ok(if other.is_some_and(|other| one.process == other.process) || one.process != again.process {
        Some(Pooler::MixesSessions)
    } else if !one.has_timeouts {
        Some(Pooler::DropsSettings)
    } else {
        None
    })
}

/// Returns whether `DATABASE_DIRECT_URL` leads to the same database, in a session of its own.
async fn compare_direct(database: &Database) -> Result<Option<Pooler>, StoreError> {
    let pooled = database.run(ANSWER_WITHIN, async |connection: &mut Connection| Session::of(connection).await).await?;
    let comparing = async {
        let mut connection = database.own_connection().await?;
        Session::of(&mut connection).await
    };
    let direct = tokio::time::timeout(ANSWER_WITHIN, comparing).await;
    let direct = direct.map_err(|_| StoreError::TimedOut(ANSWER_WITHIN))??;
    if direct.place != pooled.place {
        return Ok(Some(Pooler::LeadsElsewhere));
    }
    if !direct.has_timeouts {
        return Ok(Some(Pooler::IsNotDirect));
    }
    for _ in 0..CARRIED {
        match use_in_another_session(database).await {
            // The pooler has only one session.
            Ok(()) | Err(StoreError::TimedOut(_)) => {}
            Err(error) => match Pooler::behind(&error, true) {
                Some(pooler) => return Ok(Some(pooler)),
                None => return Err(error),
            },
        }
    }
    Ok(None)
}

/// Uses a statement prepared in one session while another connection holds that session, so that the pooler has to
/// carry the statement. Changes nothing if none is prepared.
async fn use_in_another_session(database: &Database) -> Result<(), StoreError> {
    let using = async |first: &mut Connection| {
        let prepared_in = Session::of(first).await?.process;
        let holding = async |second: &mut Connection| {
            let held = async |second: &mut Connection| {
                if Session::of(second).await?.process == prepared_in {
                    Session::of(&mut *first).await?;
                }
                Ok(())
            };
            second.transaction::<_, StoreError, _>(held).await
        };
        database.run(CARRIED_WITHIN, holding).await
    };
    database.run(ANSWER_WITHIN, using).await
}

/// The properties of a session.
#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    process: i32,
    #[diesel(sql_type = Bool)]
    has_timeouts: bool,
    /// The server, identified by its start time, and the database.
    #[diesel(sql_type = Text)]
    place: String,
}

impl Session {
    async fn of(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(diesel::sql_query(
            "SELECT pg_backend_pid() AS process, extract(epoch FROM pg_postmaster_start_time()) || ' ' || current_database() AS place,
                    '0' NOT IN (current_setting('statement_timeout'), current_setting('lock_timeout'),
                                current_setting('idle_in_transaction_session_timeout')) AS has_timeouts",
        )
        .prepared()
        .get_result(connection)
        .await?)
    }
}
