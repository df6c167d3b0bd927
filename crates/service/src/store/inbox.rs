//! The inbox: which subscription has applied which event, so that a second delivery changes nothing.

use std::collections::HashSet;

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryableByName,
    sql_types::{Array, Bool, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{Connection, Prepare as _, StoreError, schema::messaging::inbox};
use crate::fault::{self, Safeguard};

/// Claims events for a subscription in the caller's transaction and returns those that nobody had claimed.
///
/// A claim that another transaction is just making is waited for. Keys are claimed in one order everywhere, so two
/// batches that overlap cannot deadlock.
///
/// # Errors
/// Those of the database.
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
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let claimed: Vec<Claimed> = diesel::sql_query(
        "INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, $2 FROM unnest($1::uuid[]) AS row (event_id)
         ON CONFLICT DO NOTHING RETURNING event_id",
    )
    .bind::<Array<SqlUuid>, _>(sorted)
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

/// What the inbox must make impossible can only be seen by something that is not the inbox. What it recognised is noted
/// too, to know what it was good for.
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

/// Which of these events the subscription has applied already.
///
/// # Errors
/// Those of the database.
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
