//! Keeps orders in step with the event log, which is the source of truth.
//!
//! Both writers of `orders.orders` come here: the order service for every event that moves a status, and the front end
//! when a customer asks to cancel.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryableByName,
    sql_types::{Array, Bool, Integer, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_service::{
    metrics,
    store::{Connection, Prepare as _, StoreError},
};
use uuid::Uuid;

use super::schema::orders::orders;
use crate::domain::OrderStatus;

/// Where an order stands before and after the fold.
struct Place {
    status: OrderStatus,
    version: i32,
    cancel_requested: bool,
}

/// An event above an order's version.
#[derive(QueryableByName)]
struct News {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Text)]
    event: String,
}

/// Folds what the log holds above each order's version into its status, and returns where each of them stands then;
/// an order that does not exist is left out.
///
/// The orders are locked first, in the order of their ids, so that two workers fold one order one after the other.
///
/// # Errors
/// Returns database errors.
pub async fn fold(connection: &mut Connection, ids: &[Uuid]) -> Result<BTreeMap<Uuid, OrderStatus>, StoreError> {
    let locked: Vec<(Uuid, String, i32, bool)> = orders::table
        .filter(orders::id.eq_any(ids))
        .order(orders::id)
        .select((orders::id, orders::status, orders::version, orders::cancel_requested))
        .for_update()
        .load(connection)
        .await?;
    let mut places = BTreeMap::new();
    for (id, status, version, cancel_requested) in locked {
        let status =
            status.parse().map_err(|_| StoreError::Corrupt(format!("order {id} has the status {status:?}")))?;
        places.insert(id, Place { status, version, cancel_requested });
    }
    let moved: Vec<Uuid> = advance(connection, &mut places).await?;
    save(connection, &moved, &places).await?;
    Ok(places.into_iter().map(|(id, place)| (id, place.status)).collect())
}

/// Applies the log's newer events to `places`; returns the orders that moved.
async fn advance(connection: &mut Connection, places: &mut BTreeMap<Uuid, Place>) -> Result<Vec<Uuid>, StoreError> {
    let news: Vec<News> = diesel::sql_query(
        "SELECT log.order_id, log.version, log.event
         FROM unnest($1::uuid[], $2::int[]) AS place (id, version)
         JOIN messaging.event_log AS log ON log.order_id = place.id AND log.version > place.version
         ORDER BY log.order_id, log.version",
    )
    .bind::<Array<SqlUuid>, _>(places.keys().copied().collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(places.values().map(|place| place.version).collect::<Vec<_>>())
    .prepared()
    .load(connection)
    .await?;
    let mut moved = Vec::new();
    for News { order_id: id, version, event } in news {
        let Some(place) = places.get_mut(&id) else { continue };
        let kind = event.parse::<EventKind>().ok();
        match kind.map(|kind| place.status.after(kind)) {
            // Of another version or of a service elsewhere: such a kind never moves the status.
            None => {}
            Some(Some(status)) => {
                if status.is_settled() && !place.status.is_settled() {
                    metrics::get().orders.settled(status.as_str(), age(id));
                }
                place.status = status;
            }
            // The log is the truth and is never rewritten: the version goes on, the status stays, a person is told.
            Some(None) => {
                tracing::error!(order.id = %id, version, %event, status = %place.status, "the log has an event that has no place after this status")
            }
        }
        place.cancel_requested |= kind == Some(EventKind::OrderCancelRequested);
        place.version = version;
        moved.push(id);
    }
    moved.dedup();
    Ok(moved)
}

/// How long ago an order was accepted: its id is of that moment.
fn age(order: Uuid) -> Duration {
    let (seconds, nanoseconds) = order.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
    let accepted = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    // A clock that was set back is none of the order's.
    accepted.elapsed().unwrap_or_default()
}

async fn save(connection: &mut Connection, moved: &[Uuid], places: &BTreeMap<Uuid, Place>) -> Result<(), StoreError> {
    if moved.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = moved.iter().filter_map(|id| places.get(id).map(|place| (*id, place))).collect();
    diesel::sql_query(
        "UPDATE orders.orders SET status = row.status, version = row.version,
                                  cancel_requested = row.cancel_requested, updated_at = now()
         FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bool[]) AS row (id, status, version, cancel_requested)
         WHERE orders.orders.id = row.id",
    )
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|(_, place)| place.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(rows.iter().map(|(_, place)| place.version).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(rows.iter().map(|(_, place)| place.cancel_requested).collect::<Vec<_>>())
    .prepared()
    .execute(connection)
    .await?;
    Ok(())
}
