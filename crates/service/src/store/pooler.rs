//! Recognises a connection pooler that cannot be worked with.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Integer},
};
use diesel_async::RunQueryDsl as _;
use tokio_postgres::error::SqlState;

use super::{ANSWER_WITHIN, Connection, Database, StoreError};

/// What a connection pooler between us and PostgreSQL, such as PgBouncer, spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pooler {
    /// It refuses connections that ask for settings.
    #[error(
        "the pooler at DATABASE_URL refuses the time-outs that every connection asks for: connect to PostgreSQL itself"
    )]
    RefusesSettings,
    /// It accepts connections and drops the settings.
    #[error(
        "a pooler at DATABASE_URL drops the time-outs that every connection asks for (statement_timeout, lock_timeout, \
         idle_in_transaction_session_timeout): connect to PostgreSQL itself, or use the pooler's session mode and set \
         them by ALTER ROLE ... SET"
    )]
    DropsSettings,
    /// Two connections to it are one session.
    #[error(
        "a pooler at DATABASE_URL works in transaction mode, which mixes up sessions: connect to PostgreSQL itself, or \
         use the pooler's session mode"
    )]
    MixesSessions,
}

impl Pooler {
    /// The pooler that this error comes from. PostgreSQL itself takes all settings that we ask for, and a session of its
    /// own has exactly the statements that we prepared in it.
    #[must_use]
    pub fn behind(error: &StoreError) -> Option<Self> {
        match *error.state()? {
            SqlState::PROTOCOL_VIOLATION if matches!(error, StoreError::Pool(_)) => Some(Self::RefusesSettings),
            SqlState::UNDEFINED_PSTATEMENT | SqlState::DUPLICATE_PSTATEMENT => Some(Self::MixesSessions),
            _ => None,
        }
    }
}

/// Looks for a pooler that cannot be worked with. Takes two connections at once.
///
/// # Errors
/// Those of the database.
pub async fn find_pooler(database: &Database) -> Result<Option<Pooler>, StoreError> {
    let (one, other, again) = database
        .run(ANSWER_WITHIN, async |first: &mut Connection| {
            let one = Session::of(first).await?;
            // While the first is in use, so this is another connection.
            let second = async |second: &mut Connection| Session::of(second).await;
            let other = database.run(ANSWER_WITHIN, second).await?;
            Ok::<_, StoreError>((one, other, Session::of(first).await?))
        })
        .await?;
    // PostgreSQL has a process for each connection, and the same one for as long as it lives.
    Ok(if one.process == other.process || one.process != again.process {
        Some(Pooler::MixesSessions)
    } else if !one.has_timeouts {
        Some(Pooler::DropsSettings)
    } else {
        None
    })
}

/// What a session of ours is like.
#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    process: i32,
    #[diesel(sql_type = Bool)]
    has_timeouts: bool,
}

impl Session {
    async fn of(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(diesel::sql_query(
            "SELECT pg_backend_pid() AS process,
                    '0' NOT IN (current_setting('statement_timeout'), current_setting('lock_timeout'),
                                current_setting('idle_in_transaction_session_timeout')) AS has_timeouts",
        )
        .get_result(connection)
        .await?)
    }
}
