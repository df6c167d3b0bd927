//! What can go wrong between us and PostgreSQL, sorted by what helps.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool::PoolError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be had: the database is away, or all connections were busy for too long.
    #[error("no database connection")]
    Pool(#[from] PoolError),
    /// A statement failed.
    #[error("the database refused a statement")]
    Query(#[from] DieselError),
    /// A transaction took longer than it may.
    #[error("the database did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// A value has no JSON form, or a row's JSON is not what we wrote.
    #[error("a value could not be turned into or read from JSON")]
    Json(#[from] serde_json::Error),
    /// A row holds what no code of ours writes.
    #[error("a row is not as we write it: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// The database cannot be reached or is going down: the same work will succeed once it is back.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Pool(_) | Self::TimedOut(_) => true,
            Self::Query(DieselError::DatabaseError(kind, information)) => {
                matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
                    // Diesel has no kinds for these: PostgreSQL's messages for 57P01, 57P02 and 57P03.
                    || ["terminating connection", "the database system is", "connection closed", "error communicating with the server"]
                        .iter()
                        .any(|text| information.message().contains(text))
            }
            // The transaction manager is broken: the connection went away in the middle.
            Self::Query(DieselError::BrokenTransactionManager | DieselError::RollbackErrorOnCommit { .. }) => true,
            Self::Query(_) | Self::Json(_) | Self::Corrupt(_) => false,
        }
    }

    /// A unique key was taken.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Query(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }

    /// A statement took longer than it may.
    #[must_use]
    pub fn is_statement_timeout(&self) -> bool {
        matches!(self, Self::Query(DieselError::DatabaseError(_, information))
            if information.message().contains("due to statement timeout"))
    }

    /// Another transaction held a lock for longer than we wait for one.
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Query(DieselError::DatabaseError(_, information))
            if information.message().contains("due to lock timeout"))
    }
}
