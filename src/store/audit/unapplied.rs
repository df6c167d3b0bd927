//! Events that a subscription consumes and has not applied, and where they are.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{
    Connection, StoreError,
    missing::{ConsumedEvents, WHEREABOUTS, Whereabouts},
};
use uuid::Uuid;

use super::Scope;

/// An event that a subscription has not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapplied {
    /// The order.
    pub order_id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// The event's name.
    pub event: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The subscription, by its queue's name.
    pub subscription: String,
    /// Where the event is.
    pub whereabouts: Whereabouts,
    /// Why it was dead-lettered, if it was.
    pub reason: Option<String>,
}

impl Unapplied {
    /// Returns the name of the service that has not applied it.
    #[must_use]
    pub fn service(&self) -> &str {
        self.subscription.split('.').next().unwrap_or_default()
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    subscription: String,
    #[diesel(sql_type = Text)]
    whereabouts: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
}

/// `OFFSET 0` makes PostgreSQL look up each inbox row by its key instead of reading the whole inbox.
fn query() -> String {
    format!(
        "WITH pair AS MATERIALIZED (
             SELECT log.order_id, log.event_id, log.event, log.occurred_at, takes.subscription
             FROM messaging.v_event_log AS log
             JOIN unnest($4::text[], $5::text[]) AS takes (event, subscription) ON takes.event = log.event
             WHERE log.order_id > $2 AND log.order_id <= $3 AND NOT EXISTS (
                 SELECT FROM messaging.inbox
                 WHERE inbox.event_id = log.event_id AND inbox.subscription = takes.subscription OFFSET 0)
               -- Archived events need no more applying, unless an operator discarded one that was never applied.
               AND (NOT log.archived OR EXISTS (
                   SELECT FROM messaging.dead_letters AS dead
                   WHERE dead.event_id = log.event_id AND dead.subscription = takes.subscription AND dead.left_by = 'discarded')
                 AND NOT EXISTS (
                   SELECT FROM messaging.event_archive AS archived
                   WHERE archived.event_id = log.event_id AND takes.subscription = ANY (archived.applied) OFFSET 0))
         ), place AS ({WHEREABOUTS})
         SELECT place.*, (
             SELECT dead.reason FROM messaging.dead_letters AS dead
             WHERE dead.event_id = place.event_id AND dead.subscription = place.subscription
             ORDER BY dead.id DESC LIMIT 1) AS reason
         FROM place ORDER BY order_id, occurred_at, subscription"
    )
}

/// Returns the unapplied events within the range, sorted by order and time.
///
/// # Errors
/// Returns database errors.
pub async fn unapplied(
    connection: &mut Connection,
    scope: &Scope,
    consumed: &ConsumedEvents,
) -> Result<Vec<Unapplied>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(query())
        .bind::<Double, _>(scope.patience)
        .bind::<SqlUuid, _>(scope.range.after)
        .bind::<SqlUuid, _>(scope.range.upto)
        .bind::<Array<Text>, _>(&consumed.events)
        .bind::<Array<Text>, _>(&consumed.subscriptions)
        .load(connection)
        .await?;
    let unapplied = |row: Row| Unapplied {
        order_id: row.order_id,
        event_id: row.event_id,
        event: row.event,
        occurred_at: row.occurred_at,
        subscription: row.subscription,
        whereabouts: Whereabouts::named(&row.whereabouts),
        reason: row.reason,
    };
    Ok(rows.into_iter().map(unapplied).collect())
}
