//! Keeps orders in step with the event log, which is the source of truth.
//!
//! Both writers of `orders.orders` use it: the order service for every event that moves a status, and the front end
//! when a customer requests a cancellation.

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

/// An order's state before and after the fold.
struct Place {
    status: OrderStatus,
    version: i32,
    cancel_requested: bool,
}

/// An event newer than an order's version.
#[derive(QueryableByName)]
struct News {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Text)]
    event: String,
}

/// Folds the log's events newer than each order's version into the order's status, and returns the new status of each
/// order. An order that does not exist is left out.
///
/// It first locks the orders, sorted by id, so that two workers fold the same order one after the other.
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

/// Applies the log's newer events to `places`, and returns the orders that moved.
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
            // An event type of another version or of a registered service: it never moves the status.
            None => {}
            Some(Some(status)) => {
                if status.is_settled() && !place.status.is_settled() {
                    metrics::get().orders.settled(status.as_str(), age(id));
                }
                place.status = status;
            }
            // The log is the source of truth and is never rewritten. So the version advances, the status stays, and the
            // error is logged for an operator.
            Some(None) => {
                tracing::error!(order.id = %id, version, %event, status = %place.status, "the log has an event that is illegal after this status")
            }
        }
        place.cancel_requested |= kind == Some(EventKind::OrderCancelRequested);
        place.version = version;
        moved.push(id);
    }
    moved.dedup();
    Ok(moved)
}

/// Returns how long ago an order was accepted, according to the time in its id.
fn age(order: Uuid) -> Duration {
    let (seconds, nanoseconds) = order.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
    let accepted = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    // Zero if the clock was set back.
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
