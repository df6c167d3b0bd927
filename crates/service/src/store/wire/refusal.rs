//! An error of PostgreSQL with its SQLSTATE.

use std::fmt;

use diesel::result::{DatabaseErrorInformation, Error as DieselError};
use tokio_postgres::error::SqlState;

/// An error that PostgreSQL answered with.
#[derive(Debug)]
pub struct Refusal {
    state: SqlState,
    information: Box<dyn DatabaseErrorInformation + Send + Sync>,
}

impl Refusal {
    /// An error with this state.
    pub fn new(state: SqlState, information: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Self {
        Self { state, information }
    }

    /// Its SQLSTATE.
    pub fn state(&self) -> &SqlState {
        &self.state
    }

    /// Its message, in the server's language: for people, never to decide by.
    pub fn message(&self) -> &str {
        self.information.message()
    }

    /// In an error of Diesel's, which has no variant with a SQLSTATE, and this one that holds any error.
    pub fn into_diesel(self) -> DieselError {
        DieselError::QueryBuilderError(Box::new(self))
    }

    /// Takes it out of an error of Diesel's again.
    ///
    /// # Errors
    /// The error, where none is in it.
    pub fn from_diesel(error: DieselError) -> Result<Self, DieselError> {
        match error {
            DieselError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(refusal) => Ok(*refusal),
                Err(other) => Err(DieselError::QueryBuilderError(other)),
            },
            other => Err(other),
        }
    }

    /// The state of an error of Diesel's.
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
