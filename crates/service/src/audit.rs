//! The invariants between a service's rows and the event log, as data. `orderflow audit` runs one query per subject.

/// An invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the output and in the runbook.
    pub name: &'static str,
    /// What to do about a violation; `ORDER` stands for the order.
    pub remedy: &'static str,
}

/// A rule that compares one service's rows with the event log.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// The SQL condition of a violation. `$3` is a time; no event older than that is still in flight.
    pub broken: &'static str,
    /// What a violation means.
    pub what: &'static str,
}

/// The rows that one query checks.
#[derive(Debug)]
pub struct Subject {
    /// The joined rows, each with an `order_id`: the service's; `said` (a column for each event type in the order's
    /// log, such as `payment_completed`; `last`, the last version; `refunded`, the sum of the refunds); and `placed`
    /// (the order's row). `$1` and `$2` are the range of order ids; a list of orders would miss those that do not
    /// exist.
    ///
    /// Use only `FULL JOIN`. PostgreSQL estimates one row for a range of UUIDs that is narrower than a histogram bucket
    /// of its statistics. It then joined 1,000 of 300,000 orders to their logs row by row, in 4.7 s. A `FULL JOIN` can
    /// only be hashed or merged: 0.04 s.
    pub from: &'static str,
    /// The checks on these rows.
    pub checks: &'static [Check],
    /// The checks that hold only once the service has applied every event of the order. An event that it has not
    /// applied explains the violation and is reported instead.
    pub once_applied: &'static [Check],
}

/// The remedy for a violation that no operator command can fix.
pub const FILE_IT: &str = "a mistake in a program: keep the output of `orderflow why ORDER --json` and file it";

/// The remedy for rows of an order that does not exist.
pub const ORPHAN: &str = "the order was deleted by hand, or restored from a backup in part: `orderflow why ORDER` shows \
                          what there is of it, and the person who restored it has to settle the rest";
