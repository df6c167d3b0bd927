//! Keeps orders in step with the event log, which is the source of truth.
//!
//! Both writers of `orders.orders` use it: the order service for every event that moves a status, and the front end
//! when a customer requests a cancellation.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, UNIX_EPOCH},
};

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_service::{
    metrics,
    store::{Connection, Prepare as _, StoreError},
};
use uuid::Uuid;

use crate::domain::OrderStatus;

/// An order's state before and after the fold.
struct Place {
    status: OrderStatus,
    version: i32,
    cancel_requested: bool,
}

/// A locked order, with one event newer than its version, if there is any.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Bool)]
    cancel_requested: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    next_version: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    event: Option<String>,
}

/// Locks the orders, sorted by id, and reads the newer events in one statement: this saves a round trip per batch. The
/// lock may wait for another fold, and then returns what that wrote, while the log is read as it was before the wait.
/// So events that were logged meanwhile can be missing here, but no event in the middle: an event is logged only after
/// the one before it is committed. A missing event is folded when the order service receives it;
/// `order.cancel-requested`, which it does not receive, by the front end that logs it.
const LOCK: &str = "
WITH locked AS MATERIALIZED (
    SELECT id, status, version, cancel_requested FROM orders.orders WHERE id = ANY($1) ORDER BY id FOR UPDATE
)
SELECT locked.id, locked.status, locked.version, locked.cancel_requested, log.version AS next_version, log.event
FROM locked LEFT JOIN messaging.event_log AS log ON log.order_id = locked.id AND log.version > locked.version
ORDER BY locked.id, log.version";

/// Folds the log's events newer than each order's version into the order's status, and returns the new status of each
/// order. An order that does not exist is left out.
///
/// It first locks the orders, sorted by id, so that two workers fold the same order one after the other.
///
/// # Errors
/// Returns database errors.
pub async fn fold(connection: &mut Connection, ids: &[Uuid]) -> Result<BTreeMap<Uuid, OrderStatus>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(LOCK).bind::<Array<SqlUuid>, _>(ids).prepared().load(connection).await?;
    let mut places = BTreeMap::new();
    let mut moved = Vec::new();
    for Row { id, status, version, cancel_requested, next_version, event } in rows {
        let place = match places.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let status =
                    status.parse().map_err(|_| StoreError::Corrupt(format!("order {id} has the status {status:?}")))?;
                free.insert(Place { status, version, cancel_requested })
            }
        };
        if let (Some(version), Some(event)) = (next_version, event) {
            place.advance(id, version, &event);
            moved.push(id);
        }
    }
    moved.dedup();
    save(connection, &moved, &places).await?;
    Ok(places.into_iter().map(|(id, place)| (id, place.status)).collect())
}

impl Place {
    /// Applies an event of the log.
    fn advance(&mut self, order: Uuid, version: i32, event: &str) {
        let kind = event.parse::<EventKind>().ok();
        match kind.map(|kind| self.status.after(kind)) {
            // An event type of another version or of a registered service: it never moves the status.
            None => {}
            Some(Some(status)) => {
                if status.is_settled() && !self.status.is_settled() {
                    metrics::get().orders.settled(status.as_str(), age(order));
                }
                self.status = status;
            }
            // The log is the source of truth and is never rewritten. So the version advances, the status stays, and the
            // error is logged for an operator.
            Some(None) => {
                tracing::error!(order.id = %order, version, %event, status = %self.status, "the log has an event that is illegal after this status")
            }
        }
        self.cancel_requested |= kind == Some(EventKind::OrderCancelRequested);
        self.version = version;
    }
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
