//! The sessions that were ended in this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The sessions that were ended in this process, each kept until it would have expired. Kept in memory, so that they
/// stay ended while the database is unavailable. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ended(Arc<Mutex<HashMap<Uuid, DateTime<Utc>>>>);

impl Ended {
    /// Adds a session.
    pub fn add(&self, session: Uuid, expires: DateTime<Utc>) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, expires| *expires > Utc::now());
        ended.insert(session, expires);
    }

    /// Returns whether the session was ended in this process.
    pub fn contains(&self, session: Uuid) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }
}
