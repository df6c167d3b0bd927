//! A check as data: its name, the condition in SQL under which it fails, and what to do then.

use std::sync::LazyLock;

use diesel::{
    QueryableByName,
    sql_types::{Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use super::{Broken, SUBJECTS, Scope};

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

/// What to do about a violation for which no command of an operator's is the remedy.
pub const FILE_IT: &str = "a mistake in a program: keep the output of `orderflow why ORDER --json` and file it";

/// What to do about rows of an order that does not exist.
pub const ORPHAN: &str = "the order was deleted by hand, or restored from a backup in part: `orderflow why ORDER` shows \
                          what there is of it, and whoever restored it has to settle the rest";

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
}

/// `$3` is in a query of its own, since each statement has to know its type.
static PRELUDE: LazyLock<String> = LazyLock::new(|| {
    let said: Vec<String> = EventKind::ALL
        .iter()
        .map(|kind| format!("bool_or(event = '{kind}') AS {}", kind.routing_key().replace(['.', '-'], "_")))
        .collect();
    format!(
        "WITH late AS (SELECT $3::timestamptz), said AS (
             SELECT order_id, max(version) AS last, {},
                    sum((data ->> 'amount')::numeric)
                        FILTER (WHERE event = 'payment.refunded' AND jsonb_typeof(data -> 'amount') = 'number') AS refunded
             FROM messaging.event_log WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id
         ), placed AS (
             SELECT id AS order_id, number, version, total, currency FROM orders.orders WHERE id > $1 AND id <= $2
         )",
        said.join(", ")
    )
});

impl Subject {
    /// One query for all of its checks: a row for each that an order breaks.
    fn query(&self) -> String {
        let broken: Vec<String> =
            self.checks.iter().map(|check| format!("('{}', ({}))", check.rule.name, check.broken)).collect();
        format!(
            "{} SELECT order_id, broken.name FROM {}
             CROSS JOIN LATERAL (VALUES {}) AS broken (name, is_so) WHERE broken.is_so",
            *PRELUDE,
            self.from,
            broken.join(", ")
        )
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
}

/// The queries, each made once.
static QUERIES: LazyLock<Vec<String>> = LazyLock::new(|| SUBJECTS.iter().map(|subject| subject.query()).collect());

/// What is broken within the range.
///
/// # Errors
/// Those of the database.
pub async fn broken(connection: &mut Connection, scope: &Scope) -> Result<Vec<Broken>, StoreError> {
    let mut found = Vec::new();
    for (subject, query) in SUBJECTS.iter().zip(QUERIES.iter()) {
        let rows: Vec<Row> = diesel::sql_query(query)
            .bind::<SqlUuid, _>(scope.range.after)
            .bind::<SqlUuid, _>(scope.range.upto)
            .bind::<Timestamptz, _>(scope.before)
            .load(connection)
            .await?;
        found.extend(rows.into_iter().filter_map(|row| {
            let check = subject.checks.iter().find(|check| check.rule.name == row.name)?;
            Some(Broken { order_id: row.order_id, check })
        }));
    }
    Ok(found)
}
