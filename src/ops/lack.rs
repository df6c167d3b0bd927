//! What an installation lacks, in the same words in every command.

use std::fmt;

use orderflow_service::{store::StoreError, telemetry};
use serde::Serialize;

use super::words::some;

/// The remedy when PostgreSQL has no connection left.
pub const MORE_CONNECTIONS: &str = "Raise the CONNECTION LIMIT of the role or database, or max_connections, or lower DATABASE_POOL \
                                    of the processes that share it";

/// Something that is missing, and its remedy. `Display` writes both as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What is missing, without a full stop.
    pub what: String,
    /// How to fix it.
    pub remedy: String,
}

impl Lack {
    /// Describes that the tables of this version are missing.
    pub fn migration() -> Self {
        let what = "The database's tables are missing or older than this program";
        Self { what: what.to_owned(), remedy: "run `orderflow migrate`".to_owned() }
    }

    /// Describes that these queues are missing; `None` if the list is empty.
    pub fn queues(missing: &[String]) -> Option<Self> {
        let what = || format!("RabbitMQ has no queue {}", some(missing));
        (!missing.is_empty()).then(|| Self { what: what(), remedy: "run `orderflow topology apply`".to_owned() })
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// Returns the operator's message for a database error, with a remedy where one is known.
pub fn explained(error: &StoreError) -> String {
    if error.lacks_tables() {
        // Name it: a single view may be missing from an otherwise complete installation.
        let named = if let StoreError::Refused(refusal) = error { refusal.message() } else { "a table is missing" };
        return format!("{} ({named})", Lack::migration());
    }
    let why = telemetry::chain(error);
    if error.is_too_many_connections() {
        return format!("{why}. {MORE_CONNECTIONS}");
    }
    // A database that refused a statement is up.
    let is_silent = error.is_unavailable() && !matches!(error, StoreError::Refused(_));
    if is_silent { format!("{why}. Is PostgreSQL up, and is DATABASE_URL right?") } else { why }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;

    #[test]
    fn remedy_fits_the_database_error() {
        let of = |state| explained(&StoreError::refused(SqlState::from_code(state)));
        for missing in ["42P01", "42703", "42883", "3F000"] {
            assert!(of(missing).starts_with(&Lack::migration().to_string()), "{missing}");
        }
        for other in ["53100", "42501", "22001"] {
            assert!(!of(other).contains("migrate") && !of(other).contains("Is PostgreSQL up"), "{other}");
        }
        let late = StoreError::TimedOut(std::time::Duration::from_secs(1));
        assert!(explained(&late).ends_with("Is PostgreSQL up, and is DATABASE_URL right?"));
    }
}
