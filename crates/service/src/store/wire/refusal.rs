//! An error of PostgreSQL with its SQLSTATE.

use std::fmt;

use diesel::result::{DatabaseErrorInformation, Error as DieselError};
use tokio_postgres::error::SqlState;

/// An error that PostgreSQL returned.
#[derive(Debug)]
pub struct Refusal {
    state: SqlState,
    information: Box<dyn DatabaseErrorInformation + Send + Sync>,
}

impl Refusal {
    /// Returns an error with this state.
    pub fn new(state: SqlState, information: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Self {
        Self { state, information }
    }

    /// Returns its SQLSTATE.
    pub fn state(&self) -> &SqlState {
        &self.state
    }

    /// Returns the message, which is in the server's language. It is for people only: no decision may depend on it.
    pub fn message(&self) -> &str {
        self.information.message()
    }

    /// Wraps it in an error of Diesel's. Diesel has no variant with a SQLSTATE; this variant holds any error.
    pub fn into_diesel(self) -> DieselError {
        DieselError::QueryBuilderError(Box::new(self))
    }

    /// Unwraps it from an error of Diesel's.
    ///
    /// # Errors
    /// Returns the unchanged error, if it holds no `Refusal`.
    pub fn from_diesel(error: DieselError) -> Result<Self, DieselError> {
        match error {
            DieselError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(refusal) => Ok(*refusal),
                Err(other) => Err(DieselError::QueryBuilderError(other)),
            },
            other => Err(other),
        }
    }

    /// Returns the SQLSTATE in an error of Diesel's, if it holds one.
    pub fn state_in(error: &DieselError) -> Option<&SqlState> {
        match error {
            DieselError::QueryBuilderError(inner) => inner.downcast_ref::<Self>().map(Self::state),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message(), self.state.code())
    }
}

impl std::error::Error for Refusal {}
