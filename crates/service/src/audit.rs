//! What must hold of a service's rows beside the event log, as data: `orderflow audit` makes one query of each subject.

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in what is printed, and in the runbook.
    pub name: &'static str,
    /// What to do where it does not hold; `ORDER` stands for the order.
    pub remedy: &'static str,
}

/// A rule that is a condition on one service's rows beside the log.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// True, in SQL, where it is broken. `$3` is the time before which nothing is on its way any more.
    pub broken: &'static str,
    /// What is wrong then.
    pub what: &'static str,
}

/// What one query looks at.
#[derive(Debug)]
pub struct Subject {
    /// Rows with an `order_id`: of the service, of `said` (a column for each kind of event that is in the order's log,
    /// such as `payment_completed`; `last`, its last version; `refunded`, the sum of its refunds) and of `placed` (the
    /// order's row). `$1` and `$2` are the range: of a list of orders those that do not exist would be left out.
    ///
    /// They are joined by nothing but `FULL JOIN`. PostgreSQL takes a range of UUIDs that is narrower than a step of its
    /// statistics for one row, and joined 1,000 orders of 300,000 to their logs row by row, in 4.7 s. A `FULL JOIN` it can
    /// only hash or merge: 0.04 s.
    pub from: &'static str,
    /// What must hold of them.
    pub checks: &'static [Check],
    /// What must hold of them once the service has applied every event of the order: one that it has not applied explains
    /// what is broken, and is reported instead.
    pub once_applied: &'static [Check],
}

/// What to do about a violation for which no command of an operator's is the remedy.
pub const FILE_IT: &str = "a mistake in a program: keep the output of `orderflow why ORDER --json` and file it";

/// What to do about rows of an order that does not exist.
pub const ORPHAN: &str = "the order was deleted by hand, or restored from a backup in part: `orderflow why ORDER` shows \
                          what there is of it, and the person who restored it has to settle the rest";
