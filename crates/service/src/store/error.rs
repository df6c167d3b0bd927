//! The errors of PostgreSQL and of our connections to it, classified by remedy.
//!
//! Only this module decides by SQLSTATE. Nothing decides by a message, which is in the server's language.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::{PoolError as SetupError, deadpool::PoolError};
use tokio_postgres::error::SqlState;

use super::wire::Refusal;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection was available: the database is unavailable, or all connections were busy for too long.
    #[error("no database connection")]
    Pool(#[source] PoolError),
    /// All connections that PostgreSQL still grants this process were busy for too long; it has refused more of them.
    #[error("no database connection: PostgreSQL refuses more, and the others are in use")]
    NoConnectionLeft,
    /// PostgreSQL answered with an error.
    #[error("the database refused a statement")]
    Refused(#[source] Refusal),
    /// A statement failed for another reason.
    #[error("a statement failed")]
    Query(#[source] DieselError),
    /// A transaction took too long.
    #[error("the database did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// A value has no JSON form, or a row's JSON is not in our format.
    #[error("a value could not be converted to or from JSON")]
    Json(#[from] serde_json::Error),
    /// A row holds a value that our code never writes.
    #[error("a row has unexpected contents: {0}")]
    Corrupt(String),
    /// An order's history is in the archive, so nothing can be added to it.
    #[error("order {0} is finished and archived (`orderflow retention`): nothing can be added to its history")]
    Archived(uuid::Uuid),
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match Refusal::from_diesel(error) {
            Ok(refusal) => Self::Refused(refusal),
            Err(other) => Self::Query(other),
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

/// What helps against an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Retry the transaction immediately: another one was in the way. A batch that keeps failing succeeds in parts.
    Retry,
    /// Wait for time or an operator to help: the database or the installation cannot do it now. No data is at fault.
    Wait,
    /// Nothing helps: the database refuses the data itself.
    None,
}

impl StoreError {
    /// Returns its SQLSTATE, if PostgreSQL sent one.
    #[must_use]
    pub fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Refused(refusal) => Some(refusal.state()),
            Self::Pool(PoolError::Backend(SetupError::ConnectionError(
                ConnectionError::CouldntSetupConfiguration(error),
            ))) => Refusal::state_in(error),
            _ => None,
        }
    }

    /// Returns what helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Pool(_) | Self::NoConnectionLeft | Self::TimedOut(_) => Remedy::Wait,
            Self::Refused(refusal) => remedy(refusal.state()),
            Self::Query(error) => match error {
                // The connection broke in the middle.
                DieselError::BrokenTransactionManager
                | DieselError::RollbackErrorOnCommit { .. }
                | DieselError::DatabaseError(
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                    _,
                ) => Remedy::Wait,
                _ => Remedy::None,
            },
            Self::Json(_) | Self::Corrupt(_) | Self::Archived(_) => Remedy::None,
        }
    }

    /// Returns whether the same work will succeed later, unchanged.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.remedy() != Remedy::None
    }

    /// Returns whether another transaction was in the way: the same work may succeed immediately.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.remedy() == Remedy::Retry
    }

    /// Returns whether a unique key was already taken.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Returns whether something that a statement names does not exist: the tables are missing, or older than this
    /// program.
    #[must_use]
    pub fn lacks_tables(&self) -> bool {
        matches!(
            self.state(),
            Some(
                &SqlState::UNDEFINED_TABLE
                    | &SqlState::UNDEFINED_COLUMN
                    | &SqlState::UNDEFINED_FUNCTION
                    | &SqlState::INVALID_SCHEMA_NAME
            )
        )
    }

    /// Returns whether a statement took too long.
    #[must_use]
    pub fn is_statement_timeout(&self) -> bool {
        self.state() == Some(&SqlState::QUERY_CANCELED)
    }

    /// Returns whether PostgreSQL has no connection left for us: its own limit, or that of the role or the database.
    #[must_use]
    pub fn is_too_many_connections(&self) -> bool {
        matches!(self, Self::NoConnectionLeft) || self.state() == Some(&SqlState::TOO_MANY_CONNECTIONS)
    }

    /// Returns whether another transaction held a lock for longer than we wait for it.
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        self.state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Returns PostgreSQL's error with this state, for tests.
    #[must_use]
    pub fn refused(state: SqlState) -> Self {
        Self::Refused(Refusal::new(state, Box::new(String::from("made for a test"))))
    }
}

/// Returns what helps against an error with this state. PostgreSQL's appendix "Error Codes" lists them all.
fn remedy(state: &SqlState) -> Remedy {
    match *state {
        // The outcome of the commit is unknown: the keys of the next attempt reveal it.
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => return Remedy::Wait,
        // Cancelled by a time-out or by an operator; a smaller batch takes less time.
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE | SqlState::OBJECT_IN_USE => return Remedy::Retry,
        SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION => return Remedy::None,
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => return Remedy::Wait,
        // A right, table or column is missing, or a prepared statement behind a pooler: the installation is at fault.
        SqlState::INSUFFICIENT_PRIVILEGE
        | SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::DUPLICATE_PSTATEMENT
        | SqlState::UNDEFINED_PSTATEMENT => return Remedy::Wait,
        _ => {}
    }
    match state.code().get(..2) {
        // Transaction rollback: serialization failure, deadlock.
        Some("40") => Remedy::Retry,
        // Connection exception; invalid statement name; invalid authorization; invalid catalogue or schema name;
        // insufficient resources (disk, memory, connections); operator intervention; system error (input and output).
        Some("08" | "26" | "28" | "3D" | "3F" | "53" | "57" | "58") => Remedy::Wait,
        _ => Remedy::None,
    }
}

/// Returns whether a connection that received this error would fail again at its next use, while a new one may not.
pub(super) fn spoils(state: &SqlState) -> bool {
    match *state {
        // A session stays read-only, even when the database no longer is.
        SqlState::READ_ONLY_SQL_TRANSACTION
        // A prepared statement whose table has changed ("cached plan must not change result type"), or that does not
        // exist.
        | SqlState::FEATURE_NOT_SUPPORTED
        | SqlState::UNDEFINED_PSTATEMENT
        | SqlState::DUPLICATE_PSTATEMENT
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => true,
        SqlState::QUERY_CANCELED => false,
        _ => matches!(state.code().get(..2), Some("08" | "26" | "57" | "58" | "XX")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state seen in our trials, and its neighbours in PostgreSQL's appendix.
    #[test]
    fn states_are_sorted_by_remedy() {
        for (remedy, states) in [
            (Remedy::Retry, "40000 40001 40P01 55P03 55006 57014"),
            (
                Remedy::Wait,
                "08000 08001 08003 08006 08P01 25006 25P03 26000 28000 28P01 3D000 3F000 40003 42501 42P01 42703 42P05 \
                 53000 53100 53200 53300 53400 57000 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01",
            ),
            (Remedy::None, "22001 22003 22P02 22P05 23502 23503 23505 23514 23P01 25P02 40002 42601 P0001 XX001"),
        ] {
            for state in states.split_ascii_whitespace() {
                let error = StoreError::refused(SqlState::from_code(state));
                assert_eq!(error.remedy(), remedy, "{state}");
                assert_eq!(error.is_unavailable(), remedy != Remedy::None, "{state}");
            }
        }
    }

    #[test]
    fn lasting_errors_spoil_a_connection_and_others_do_not() {
        for (spoiled, states) in
            [(true, "08P01 0A000 25006 26000 42P05 57P01 58030 XX000"), (false, "23505 40001 40P01 53100 55P03 57014")]
        {
            for state in states.split_ascii_whitespace() {
                assert_eq!(spoils(&SqlState::from_code(state)), spoiled, "{state}");
            }
        }
    }

    #[test]
    fn error_without_a_state_is_sorted_by_its_kind() {
        let closed = DatabaseErrorKind::UnableToSendCommand;
        for (error, remedy) in [
            (StoreError::from(DieselError::DatabaseError(closed, Box::new("x".to_owned()))), Remedy::Wait),
            (DieselError::BrokenTransactionManager.into(), Remedy::Wait),
            (StoreError::TimedOut(std::time::Duration::ZERO), Remedy::Wait),
            (StoreError::Pool(PoolError::Closed), Remedy::Wait),
            (DieselError::NotFound.into(), Remedy::None),
            (StoreError::Corrupt(String::new()), Remedy::None),
        ] {
            assert_eq!(error.remedy(), remedy, "{error}");
        }
    }
}
