//! What `orderflow audit` asks the database: whether what must hold does, for one range of orders after the other.
//!
//! Orders are walked by their primary key. All that is known of the orders of a [`Range`] is looked at in one read-only
//! transaction that sees one moment, so that a service's rows and the events that it wrote together are seen together:
//! of a row and its event no check has to wait for anything. Every table is read by an index, within the range.

mod check;
mod email;
mod inventory;
mod keys;
mod orders;
mod payment;
mod picture;
mod shipping;
mod unapplied;
mod walk;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use check::{Check, FILE_IT, ORPHAN, Rule};
pub use email::UNSENT;
pub use keys::{KEYS, KeyRow, Trouble};
pub use picture::{Entry, Picture, Placed, Unpublished, look};
pub use unapplied::Unapplied;
pub use walk::{Range, estimated_orders, glance, next};

use check::Subject;

/// What is looked at with one query: a service's rows beside the events that were logged. A new service adds its own.
const SUBJECTS: [&Subject; 5] =
    [&orders::SUBJECT, &payment::SUBJECT, &inventory::SUBJECT, &shipping::SUBJECT, &email::SUBJECT];

/// Every check that is a condition in SQL, in the order of looking.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    SUBJECTS.iter().flat_map(|subject| subject.checks)
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
}
