//! The inbox: records which subscription has applied which event, so that a second delivery changes nothing.

use std::collections::{HashMap, HashSet};

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryableByName,
    sql_types::{Array, Bool, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::Envelope;
use uuid::Uuid;

use super::{Connection, Prepare as _, StoreError, event_log::WholeRow, schema::messaging::inbox};
use crate::fault::{self, Safeguard};

/// Claims events for a subscription in the caller's transaction. Returns those that were not claimed before.
///
/// Waits for a claim that another transaction is making. Keys are claimed in the same order everywhere, so overlapping
/// batches cannot deadlock.
///
/// # Errors
/// Returns database errors.
pub async fn claim(
    connection: &mut Connection,
    subscription: &str,
    events: &[Uuid],
) -> Result<HashSet<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Claimed {
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
    }
    let claimed: Vec<Claimed> = diesel::sql_query(
        "INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, $2 FROM unnest($1::uuid[]) AS row (event_id)
         ON CONFLICT DO NOTHING RETURNING event_id",
    )
    .bind::<Array<SqlUuid>, _>(in_order(events))
    .bind::<Text, _>(subscription)
    .prepared()
    .load(connection)
    .await?;
    let claimed = if fault::without(Safeguard::Inbox) {
        events.iter().copied().collect()
    } else {
        claimed.into_iter().map(|row| row.event_id).collect()
    };
    if fault::notes_applied() {
        note(connection, subscription, &claimed, false).await?;
    }
    Ok(claimed)
}

fn in_order(events: &[Uuid]) -> Vec<Uuid> {
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// An event as the log has it.
pub type Logged = Envelope<serde_json::Value>;

/// What log and inbox say about an event.
#[derive(Debug)]
pub struct Known {
    /// `None` if the log has no event with this id.
    pub logged: Option<Logged>,
    /// Whether the subscription has applied it.
    pub is_applied: bool,
}

/// Names each column of the log: a prepared statement with `log.*` would fail permanently once a migration adds a
/// column.
const KNOWN: &str = "
SELECT ids.id, inbox.event_id IS NOT NULL AS is_applied, log.order_id, log.version, log.event_id, log.event, log.source,
       log.occurred_at, log.correlation_id, log.causation_id, log.traceparent, log.data
FROM unnest($1::uuid[]) AS ids (id)
LEFT JOIN messaging.event_log AS log ON log.event_id = ids.id
LEFT JOIN messaging.inbox ON inbox.event_id = ids.id AND inbox.subscription = $2";

/// Returns what log and inbox say about each of these events for this subscription, from one snapshot. One statement
/// saves a round trip.
///
/// # Errors
/// Returns database errors.
pub async fn known(
    connection: &mut Connection,
    subscription: &str,
    events: &[Uuid],
) -> Result<HashMap<Uuid, Known>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Bool)]
        is_applied: bool,
        #[diesel(embed)]
        logged: Option<WholeRow>,
    }
    let rows: Vec<Row> = diesel::sql_query(KNOWN)
        .bind::<Array<SqlUuid>, _>(in_order(events))
        .bind::<Text, _>(subscription)
        .prepared()
        .load(connection)
        .await?;
    let with_inbox = !fault::without(Safeguard::Inbox);
    let known = |row: Row| {
        let is_applied = with_inbox && row.is_applied;
        (row.id, Known { logged: row.logged.map(WholeRow::envelope), is_applied })
    };
    let known: HashMap<Uuid, Known> = rows.into_iter().map(known).collect();
    let applied: HashSet<Uuid> = known.iter().filter(|(_, known)| known.is_applied).map(|(id, _)| *id).collect();
    if fault::notes_applied() && !applied.is_empty() {
        note(connection, subscription, &applied, true).await?;
    }
    Ok(known)
}

/// Records applied events independently of the inbox, so that fault runs can check it. Also records the repetitions
/// that the inbox recognised, to show that they occurred.
async fn note(
    connection: &mut Connection,
    subscription: &str,
    events: &HashSet<Uuid>,
    recognised: bool,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO faults.applied (event_id, subscription, recognised) SELECT unnest($1::uuid[]), $2, $3",
    )
    .bind::<Array<SqlUuid>, _>(events.iter().collect::<Vec<_>>())
    .bind::<Text, _>(subscription)
    .bind::<Bool, _>(recognised)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns which of these events the subscription has already applied.
///
/// # Errors
/// Returns database errors.
pub async fn applied(
    connection: &mut Connection,
    subscription: &str,
    events: &[Uuid],
) -> Result<HashSet<Uuid>, StoreError> {
    if fault::without(Safeguard::Inbox) {
        return Ok(HashSet::new());
    }
    let rows: Vec<Uuid> = inbox::table
        .filter(inbox::event_id.eq_any(events))
        .filter(inbox::subscription.eq(subscription))
        .select(inbox::event_id)
        .load(connection)
        .await?;
    let applied: HashSet<Uuid> = rows.into_iter().collect();
    if fault::notes_applied() && !applied.is_empty() {
        note(connection, subscription, &applied, true).await?;
    }
    Ok(applied)
}
