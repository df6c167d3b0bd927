//! The queries of `orderflow audit`, which checks the invariants for one range of orders after another.
//!
//! Orders are walked by their primary key. Everything about the orders of a [`Range`] is read in one read-only
//! transaction on one snapshot. It sees a service's row together with the event that was committed with it, so no check
//! has to allow for a delay between the two. Every table is read through an index, within the range.

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

/// Returns every check that is a condition in SQL, in execution order.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    roster()
        .services()
        .flat_map(|service| service.audit)
        .flat_map(|subject| subject.checks.iter().chain(subject.once_applied))
}

/// Which orders to check, and from what age on an event is late.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// The orders to check.
    pub range: Range,
    /// An event older than this should have had its next step by now.
    pub before: DateTime<Utc>,
    /// The same as an age, in seconds.
    pub patience: f64,
}

/// A rule that an order violates.
#[derive(Debug, Clone, Copy)]
pub struct Broken {
    /// The order.
    pub order_id: Uuid,
    /// The rule.
    pub check: &'static Check,
    /// If set, it counts as a violation only once this service has applied all events of the order.
    pub once_applied: Option<&'static str>,
}
