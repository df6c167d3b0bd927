//! The data that the order service reads besides the orders that it folds.

use std::collections::HashMap;

use diesel::{ExpressionMethods as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use orderflow_events::{EventKind, OrderCancelled};
use orderflow_service::store::{Connection, StoreError, schema::messaging::event_log};
use uuid::Uuid;

/// The events that turn an order back, and the reason for each.
const TURNED_BACK: [(EventKind, &str); 3] = [
    (EventKind::ShipmentCancelled, OrderCancelled::REQUESTED),
    (EventKind::ShipmentFailed, OrderCancelled::CARRIER_REFUSED),
    (EventKind::InventoryRejected, OrderCancelled::OUT_OF_STOCK),
];

/// Returns why each of these orders is cancelled: the reason for the first event in its log that turned it back. Leaves
/// out orders that were not turned back.
///
/// # Errors
/// Returns database errors.
pub async fn reasons(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, &'static str>, StoreError> {
    let rows: Vec<(Uuid, String)> = event_log::table
        .filter(event_log::order_id.eq_any(orders))
        .filter(event_log::event.eq_any(TURNED_BACK.map(|(kind, _)| kind.routing_key())))
        .order((event_log::order_id, event_log::version))
        .select((event_log::order_id, event_log::event))
        .load(connection)
        .await?;
    let mut reasons = HashMap::new();
    for (order, event) in rows {
        if let Some((_, reason)) = TURNED_BACK.iter().find(|(kind, _)| kind.routing_key() == event) {
            reasons.entry(order).or_insert(*reason);
        }
    }
    Ok(reasons)
}
