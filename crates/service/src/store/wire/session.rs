//! Records what a connection and a whole database proved unable to do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::{
    metrics,
    store::{StoreError, error::spoils},
};

/// How long a read-only session or lost connection counts. Outbox polls and measurements show it again about once a
/// second; after this long without a sign it is over.
const SEEN_EVERY: Duration = Duration::from_secs(5);

/// How long a full disk counts: it shows only when something is written.
const WRITTEN_EVERY: Duration = Duration::from_secs(30);

/// The state of a database as its clients last saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Reads and writes succeed.
    Ok,
    /// It accepts reads only: a standby, or `default_transaction_read_only`.
    ReadOnly,
    /// It is out of disk space or memory.
    Full,
    /// It is unreachable, starting or stopping.
    Unavailable,
}

impl Condition {
    /// Returns the word in `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }

    /// Returns what an error says about the whole database; `None` if it concerns only a statement.
    #[must_use]
    pub fn of(error: &StoreError) -> Option<Self> {
        error.state().and_then(Self::shown_by)
    }

    /// Returns what an SQLSTATE says about the whole database; `None` if it concerns only a statement.
    fn shown_by(state: &SqlState) -> Option<Self> {
        match *state {
            SqlState::READ_ONLY_SQL_TRANSACTION => Some(Self::ReadOnly),
            SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY => Some(Self::Full),
            _ if state.code().starts_with("08") => Some(Self::Unavailable),
            // Too many connections do not make it unavailable: the existing ones keep working. The pool notices when it
            // has none.
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Some(Self::Unavailable)
            }
            _ => None,
        }
    }

    fn lasts(self) -> Duration {
        match self {
            Self::Full => WRITTEN_EVERY,
            Self::Ok | Self::ReadOnly | Self::Unavailable => SEEN_EVERY,
        }
    }
}

/// When a database last showed each problem. Shared by all connections of a pool.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<Vec<(Condition, Instant)>>);

impl Sightings {
    /// Returns the recent problem; of several, the one that explains most.
    pub fn condition(&self) -> Condition {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |wanted: Condition| {
            seen.iter().any(|(condition, at)| *condition == wanted && at.elapsed() < wanted.lasts())
        };
        [Condition::Full, Condition::ReadOnly, Condition::Unavailable]
            .into_iter()
            .find(|one| lately(*one))
            .unwrap_or(Condition::Ok)
    }

    /// Records a problem that was just observed.
    pub fn note(&self, condition: Condition) {
        metrics::get().database.refused(condition.as_str());
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One entry for each condition.
        seen.retain(|(other, _)| *other != condition);
        seen.push((condition, Instant::now()));
    }

    /// Records that the database was reached.
    pub fn reached(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != Condition::Unavailable);
    }
}

/// What one connection's stream has shown.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The last error's state, until it is attached to Diesel's error.
    last: Mutex<Option<SqlState>>,
    latest: Mutex<Option<SqlState>>,
    spoiled: AtomicBool,
    /// Whether statements run outside Diesel's transactions.
    alone: AtomicBool,
    sightings: Arc<Sightings>,
}

impl Session {
    pub(super) fn new(sightings: Arc<Sightings>) -> Self {
        Self { sightings, ..Self::default() }
    }

    /// Records an error before the driver reads it, so that the caller that receives the error finds its state here.
    pub(super) fn note(&self, state: &SqlState) {
        if let Some(condition) = Condition::shown_by(state) {
            self.sightings.note(condition);
        }
        if spoils(state) {
            self.spoil();
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
    }

    /// Takes the state of the last error: a second call returns `None`.
    pub(super) fn take(&self) -> Option<SqlState> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the state of the last error.
    pub(super) fn latest(&self) -> Option<SqlState> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that the server has started this session read-only, which it will stay.
    pub(super) fn begun_read_only(&self) {
        self.sightings.note(Condition::ReadOnly);
        self.spoil();
    }

    /// Records that statements begin outside Diesel's transactions.
    pub(super) fn begin_alone(&self) {
        self.alone.store(true, Ordering::Relaxed);
    }

    /// Records that they are answered.
    pub(super) fn end_alone(&self) {
        self.alone.store(false, Ordering::Relaxed);
    }

    /// Returns whether such statements were abandoned: the connection still owes an answer, or has an open transaction.
    pub(super) fn is_left_open(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Marks the connection so that it is not used again after its present use.
    pub(super) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_over_when_it_has_not_shown_for_a_while() {
        let sightings = Arc::new(Sightings::default());
        let session = Session::new(Arc::clone(&sightings));
        session.note(&SqlState::READ_ONLY_SQL_TRANSACTION);
        assert_eq!(sightings.condition(), Condition::ReadOnly);
        // A full disk ranks before read-only, because it explains more.
        session.note(&SqlState::DISK_FULL);
        assert_eq!(sightings.condition(), Condition::Full);
        tokio::time::advance(SEEN_EVERY + Duration::from_secs(1)).await;
        assert_eq!(sightings.condition(), Condition::Full);
        tokio::time::advance(WRITTEN_EVERY).await;
        assert_eq!(sightings.condition(), Condition::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn reached_database_is_available_immediately() {
        let sightings = Sightings::default();
        sightings.note(Condition::Unavailable);
        sightings.note(Condition::ReadOnly);
        sightings.reached();
        assert_eq!(sightings.condition(), Condition::ReadOnly);
    }

    #[test]
    fn errors_of_a_statement_say_nothing_about_the_database() {
        for state in [SqlState::UNIQUE_VIOLATION, SqlState::QUERY_CANCELED, SqlState::T_R_DEADLOCK_DETECTED] {
            assert_eq!(Condition::shown_by(&state), None, "{state:?}");
        }
    }
}
