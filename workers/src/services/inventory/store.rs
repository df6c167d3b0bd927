//! The inventory service's rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryableByName,
    sql_types::{Array, BigInt, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::ShortItem;
use orderflow_service::{
    fault::{self, Safeguard},
    store::{Connection, Prepare as _, StoreError},
};
use uuid::Uuid;

use crate::services::inventory::schema::inventory::{reservations, stock};

/// The decision about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All items are set aside.
    Reserved {
        /// The number of different products.
        products: usize,
    },
    /// Some items were short, so none are set aside.
    Rejected {
        /// The items that were short.
        short: Vec<ShortItem>,
    },
}

/// The pieces that an order wants, by SKU.
type Wanted = BTreeMap<String, i64>;

/// Reserves stock for each order, in the given order: all of its items or none. Leaves out of the result orders that
/// were decided or released before.
///
/// Locks the stock of all products first, sorted by SKU, so that two workers can neither promise the same piece nor
/// deadlock.
///
/// # Errors
/// Returns database errors. The check constraint on `available` is the last protection against overselling.
pub async fn reserve(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Decision>, StoreError> {
    let wanted = wanted(connection, orders).await?;
    let mut available = lock_stock(connection, &wanted).await?;
    let undecided = undecided(connection, orders).await?;
    let mut decisions = HashMap::new();
    let mut order_of_decision = Vec::new();
    for order in orders.iter().filter(|order| undecided.contains(order)) {
        let empty = Wanted::new();
        let decision = decide(wanted.get(order).unwrap_or(&empty), &mut available);
        if decisions.insert(*order, decision).is_none() {
            order_of_decision.push(*order);
        }
    }
    save(connection, &order_of_decision, &decisions, &wanted).await?;
    Ok(decisions)
}

fn decide(wanted: &Wanted, available: &mut BTreeMap<String, i64>) -> Decision {
    let short: Vec<ShortItem> = wanted
        .iter()
        .map(|(sku, pieces)| (sku, *pieces, available.get(sku).copied().unwrap_or(0)))
        .filter(|(_, pieces, there)| there < pieces)
        .map(|(sku, wanted, available)| ShortItem { sku: sku.clone(), wanted, available })
        .collect();
    if !short.is_empty() {
        return Decision::Rejected { short };
    }
    for (sku, pieces) in wanted {
        if let Some(there) = available.get_mut(sku) {
            *there -= pieces;
        }
    }
    Decision::Reserved { products: wanted.len() }
}

async fn wanted(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Wanted>, StoreError> {
    #[derive(QueryableByName)]
    struct Item {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
        #[diesel(sql_type = Text)]
        sku: String,
        #[diesel(sql_type = BigInt)]
        pieces: i64,
    }
    let items: Vec<Item> = diesel::sql_query(
        "SELECT order_id, sku, sum(quantity)::bigint AS pieces FROM orders.v_items
         WHERE order_id = ANY($1) GROUP BY order_id, sku",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .prepared()
    .load(connection)
    .await?;
    let mut wanted: HashMap<Uuid, Wanted> = HashMap::new();
    for item in items {
        wanted.entry(item.order_id).or_default().insert(item.sku, item.pieces);
    }
    Ok(wanted)
}

async fn lock_stock(
    connection: &mut Connection,
    wanted: &HashMap<Uuid, Wanted>,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let skus: HashSet<&String> = wanted.values().flat_map(BTreeMap::keys).collect();
    let stock = stock::table.filter(stock::sku.eq_any(skus)).order(stock::sku).select((stock::sku, stock::available));
    let rows: Vec<(String, i64)> = if fault::without(Safeguard::StockLock) {
        stock.load(connection).await?
    } else {
        stock.for_update().load(connection).await?
    };
    Ok(rows.into_iter().collect())
}

/// Returns the orders that are not decided yet. Call this after locking the stock: every decision is made under that
/// lock.
async fn undecided(connection: &mut Connection, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let decided: Vec<Uuid> = reservations::table
        .filter(reservations::order_id.eq_any(orders))
        .select(reservations::order_id)
        .load(connection)
        .await?;
    Ok(orders.iter().copied().filter(|order| !decided.contains(order)).collect())
}

/// Stores the decisions, the movements and the new stock levels of a batch, in one statement.
const SAVE: &str = "
WITH decided AS (
    INSERT INTO inventory.reservations (order_id, outcome)
    SELECT order_id, outcome FROM unnest($1::uuid[], $2::text[]) AS row (order_id, outcome)
), moved AS (
    INSERT INTO inventory.movements (sku, kind, quantity, order_id)
    SELECT sku, 'reserved', -pieces, order_id
    FROM unnest($3::uuid[], $4::text[], $5::bigint[]) AS row (order_id, sku, pieces)
)
UPDATE inventory.stock SET available = available - taken.pieces
FROM (SELECT sku, sum(pieces) AS pieces FROM unnest($4::text[], $5::bigint[]) AS row (sku, pieces) GROUP BY sku) AS taken
WHERE inventory.stock.sku = taken.sku";

async fn save(
    connection: &mut Connection,
    orders: &[Uuid],
    decisions: &HashMap<Uuid, Decision>,
    wanted: &HashMap<Uuid, Wanted>,
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    let reserved = |order: &Uuid| matches!(decisions.get(order), Some(Decision::Reserved { .. }));
    let outcomes: Vec<&str> =
        orders.iter().map(|order| if reserved(order) { "reserved" } else { "rejected" }).collect();
    let (mut taken_by, mut skus, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    for order in orders.iter().filter(|order| reserved(order)) {
        for (sku, count) in wanted.get(order).into_iter().flatten() {
            taken_by.push(*order);
            skus.push(sku.clone());
            pieces.push(*count);
        }
    }
    diesel::sql_query(SAVE)
        .bind::<Array<SqlUuid>, _>(orders)
        .bind::<Array<Text>, _>(outcomes)
        .bind::<Array<SqlUuid>, _>(taken_by)
        .bind::<Array<Text>, _>(skus)
        .bind::<Array<BigInt>, _>(pieces)
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

/// Releases orders, each once, and returns how many products of each went back into stock. An undecided order gets a
/// tombstone: a row that prevents a later reservation. Leaves out of the result orders that were rejected or released
/// before.
///
/// Takes the same locks as [`reserve`], so that the later of the two sees the earlier.
///
/// # Errors
/// Returns database errors.
pub async fn release(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, usize>, StoreError> {
    let wanted = wanted(connection, orders).await?;
    lock_stock(connection, &wanted).await?;
    let decided: HashMap<Uuid, String> = reservations::table
        .filter(reservations::order_id.eq_any(orders))
        .select((reservations::order_id, reservations::outcome))
        .load::<(Uuid, String)>(connection)
        .await?
        .into_iter()
        .collect();
    let mut released = HashMap::new();
    for order in orders {
        match decided.get(order).map(String::as_str) {
            None => released.insert(*order, 0),
            Some("reserved") => released.insert(*order, wanted.get(order).map_or(0, BTreeMap::len)),
            Some(_) => None,
        };
    }
    let mut ids: Vec<Uuid> = released.keys().copied().collect();
    if fault::without(Safeguard::Tombstone) {
        ids.retain(|order| decided.contains_key(order));
    }
    ids.sort_unstable();
    diesel::sql_query(RELEASE).bind::<Array<SqlUuid>, _>(ids).prepared().execute(connection).await?;
    Ok(released)
}

/// Stores the releases, the movements and the new stock levels of a batch, in one statement. The released pieces are
/// those of the reservation's own movements.
const RELEASE: &str = "
WITH kept_out AS (
    INSERT INTO inventory.reservations (order_id, outcome, released_at)
    SELECT order_id, 'cancelled', now() FROM unnest($1::uuid[]) AS row (order_id)
    ON CONFLICT (order_id) DO NOTHING
), let_go AS (
    UPDATE inventory.reservations SET outcome = 'released', released_at = now()
    WHERE order_id = ANY($1) AND outcome = 'reserved' RETURNING order_id
), moved AS (
    INSERT INTO inventory.movements (sku, kind, quantity, order_id)
    SELECT sku, 'released', -quantity, order_id FROM inventory.movements JOIN let_go USING (order_id)
    WHERE kind = 'reserved' RETURNING sku, quantity
)
UPDATE inventory.stock SET available = available + back.pieces
FROM (SELECT sku, sum(quantity) AS pieces FROM moved GROUP BY sku) AS back
WHERE inventory.stock.sku = back.sku";

#[cfg(test)]
mod tests {
    use super::*;

    fn wanting<const N: usize>(items: [(&str, i64); N]) -> BTreeMap<String, i64> {
        items.into_iter().map(|(sku, pieces)| (sku.to_owned(), pieces)).collect()
    }

    #[test]
    fn order_gets_all_items_or_none() {
        let mut available = wanting([("A", 5), ("B", 1)]);
        let short = ShortItem { sku: "B".to_owned(), wanted: 2, available: 1 };
        assert_eq!(decide(&wanting([("A", 1), ("B", 2)]), &mut available), Decision::Rejected { short: vec![short] });
        assert_eq!(available, wanting([("A", 5), ("B", 1)]), "a rejected order takes nothing");
        assert_eq!(decide(&wanting([("A", 5), ("B", 1)]), &mut available), Decision::Reserved { products: 2 });
        assert_eq!(available, wanting([("A", 0), ("B", 0)]));
    }

    #[test]
    fn product_without_a_stock_row_is_short() {
        let decision = decide(&wanting([("NEW", 1)]), &mut BTreeMap::new());
        assert!(matches!(decision, Decision::Rejected { .. }));
    }
}
