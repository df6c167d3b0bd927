//! What `orderflow audit` asks the database: whether what must hold does, for one range of orders after the other.
//!
//! Orders are walked by their primary key. All that is known of the orders of a [`Range`] is looked at in one read-only
//! transaction that sees one moment, so that a service's rows and the events that it wrote together are seen together:
//! of a row and its event no check has to wait for anything. Every table is read by an index, within the range.

mod check;
mod keys;
mod picture;
mod unapplied;
mod walk;

use chrono::{DateTime, Utc};
use orderflow_service::audit::Check;
use uuid::Uuid;

use crate::services::roster;

pub use keys::{KEYS, KeyRow, Trouble};
pub use picture::{Entry, Picture, Placed, Unpublished, read};
pub use unapplied::Unapplied;
pub use walk::{Range, estimated_orders, glance, next};

/// Every check that is a condition in SQL, in the order of looking.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    roster()
        .services()
        .flat_map(|service| service.audit)
        .flat_map(|subject| subject.checks.iter().chain(subject.once_applied))
}

/// What to look at, and what is too old to be still on its way.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Which orders.
    pub range: Range,
    /// What happened before that should have been followed by what comes next.
    pub before: DateTime<Utc>,
    /// The same as a length of time, in seconds.
    pub patience: f64,
}

/// A rule that an order breaks.
#[derive(Debug, Clone, Copy)]
pub struct Broken {
    /// Whose.
    pub order_id: Uuid,
    /// Which.
    pub check: &'static Check,
    /// The service that breaks it only if it has applied all events of the order.
    pub once_applied: Option<&'static str>,
}
