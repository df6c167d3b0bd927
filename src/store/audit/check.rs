//! The services' audit rules as queries, one per subject.

use std::sync::LazyLock;

use diesel::{
    QueryableByName,
    sql_types::{Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_service::{
    Service,
    audit::{Check, Subject},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{Broken, Scope};
use crate::services::roster;

/// `late` exists so that every statement uses `$3`: PostgreSQL has to know the type of each parameter.
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
             FROM messaging.v_event_log WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id
         ), placed AS (
             SELECT id AS order_id, number, version, total, currency FROM orders.orders WHERE id > $1 AND id <= $2
         )",
        said.join(", ")
    )
});

/// Builds one query for all checks of a subject. It returns a row for each check that an order violates.
fn query(subject: &Subject) -> String {
    let checks = subject.checks.iter().chain(subject.once_applied);
    let broken: Vec<String> = checks.map(|check| format!("('{}', ({}))", check.rule.name, check.broken)).collect();
    format!(
        "{} SELECT order_id, broken.name FROM {}
         CROSS JOIN LATERAL (VALUES {}) AS broken (name, is_so) WHERE broken.is_so",
        *PRELUDE,
        subject.from,
        broken.join(", ")
    )
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
}

/// One service's subject, and the query that finds its violations.
struct Looking {
    service: &'static str,
    subject: &'static Subject,
    query: String,
}

/// The queries, built once.
static QUERIES: LazyLock<Vec<Looking>> = LazyLock::new(|| {
    let subjects = |service: &'static Service| service.audit.iter().map(move |subject| (service.name, *subject));
    let looking = |(service, subject): (_, &'static Subject)| Looking { service, subject, query: query(subject) };
    roster().services().flat_map(subjects).map(looking).collect()
});

/// Returns the violations within the range.
///
/// # Errors
/// Returns database errors.
pub async fn broken(connection: &mut Connection, scope: &Scope) -> Result<Vec<Broken>, StoreError> {
    let mut found = Vec::new();
    for Looking { service, subject, query } in QUERIES.iter() {
        let rows: Vec<Row> = diesel::sql_query(query)
            .bind::<SqlUuid, _>(scope.range.after)
            .bind::<SqlUuid, _>(scope.range.upto)
            .bind::<Timestamptz, _>(scope.before)
            .load(connection)
            .await?;
        found.extend(rows.into_iter().filter_map(|row| {
            let named = |check: &&Check| check.rule.name == row.name;
            let check = subject.checks.iter().find(named);
            let once_applied = check.is_none().then_some(*service);
            let check = check.or_else(|| subject.once_applied.iter().find(named))?;
            Some(Broken { order_id: row.order_id, check, once_applied })
        }));
    }
    Ok(found)
}
