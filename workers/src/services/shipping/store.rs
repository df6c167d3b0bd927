//! The shipping service's rows.

use std::collections::{HashMap, HashSet};

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryableByName,
    sql_types::{Array, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};
use uuid::Uuid;

use crate::{
    providers::carrier::{Address, Content, ShipOutcome},
    services::shipping::schema::shipping::shipments,
};

/// The data of a parcel to ship.
#[derive(Debug, Clone)]
pub struct Consignment {
    /// The recipient's address.
    pub address: Address,
    /// The products in the parcel.
    pub contents: Vec<Content>,
}

#[derive(QueryableByName)]
struct AddressRow {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    address_line1: String,
    #[diesel(sql_type = Nullable<Text>)]
    address_line2: Option<String>,
    #[diesel(sql_type = Text)]
    city: String,
    #[diesel(sql_type = Text)]
    postal_code: String,
    #[diesel(sql_type = Text)]
    country: String,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
}

#[derive(QueryableByName)]
struct ItemRow {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    sku: String,
    #[diesel(sql_type = Integer)]
    quantity: i32,
}

/// Returns the parcels to ship for these orders. Leaves out orders that do not exist.
///
/// # Errors
/// Returns database errors.
pub async fn consignments(
    connection: &mut Connection,
    orders: &[Uuid],
) -> Result<HashMap<Uuid, Consignment>, StoreError> {
    let addresses: Vec<AddressRow> = diesel::sql_query(
        "SELECT order_id, name, address_line1, address_line2, city, postal_code, country, state, phone
         FROM orders.v_shipping WHERE order_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .prepared()
    .load(connection)
    .await?;
    let items: Vec<ItemRow> = diesel::sql_query(
        "SELECT order_id, sku, quantity FROM orders.v_items WHERE order_id = ANY($1) ORDER BY order_id, line",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .prepared()
    .load(connection)
    .await?;
    let mut consignments: HashMap<Uuid, Consignment> = addresses.into_iter().map(consignment).collect();
    for ItemRow { order_id, sku, quantity } in items {
        if let Some(consignment) = consignments.get_mut(&order_id) {
            consignment.contents.push(Content { sku, quantity });
        }
    }
    Ok(consignments)
}

fn consignment(row: AddressRow) -> (Uuid, Consignment) {
    let address = Address {
        name: row.name,
        line1: row.address_line1,
        line2: row.address_line2,
        city: row.city,
        postal_code: Some(row.postal_code).filter(|code| !code.is_empty()),
        country: row.country,
        state: row.state,
        phone: row.phone,
    };
    (row.order_id, Consignment { address, contents: Vec::new() })
}

/// The state of the decision about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booking {
    /// The order is claimed for shipping: the carrier may be called, and a cancel comes too late.
    Ours,
    /// The order is already decided.
    Decided,
}

/// Claims orders for shipping, unless they are already decided. From here on a customer's cancel comes too late.
///
/// An order's row is its decision, and the first writer wins: this function, before the carrier is called, or
/// [`cancel`]. So no order is cancelled that the carrier may have.
///
/// # Errors
/// Returns database errors.
pub async fn book(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Booking>, StoreError> {
    insert(connection, "booking", orders).await?;
    let rows: Vec<(Uuid, String)> = shipments::table
        .filter(shipments::order_id.eq_any(orders))
        .select((shipments::order_id, shipments::status))
        .load(connection)
        .await?;
    let booking = |status: String| if status == "booking" { Booking::Ours } else { Booking::Decided };
    Ok(rows.into_iter().map(|(order, status)| (order, booking(status))).collect())
}

/// Cancels the orders that are not decided yet, and returns them.
///
/// # Errors
/// Returns database errors.
pub async fn cancel(connection: &mut Connection, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    insert(connection, "cancelled", orders).await
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
}

/// Inserts rows for orders that have none, sorted by order id, and returns those orders.
async fn insert(connection: &mut Connection, status: &str, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let written: Vec<Written> = diesel::sql_query(
        "INSERT INTO shipping.shipments (order_id, status)
         SELECT DISTINCT order_id, $2 FROM unnest($1::uuid[]) AS row (order_id) ORDER BY order_id
         ON CONFLICT (order_id) DO NOTHING RETURNING order_id",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Text, _>(status)
    .prepared()
    .load(connection)
    .await?;
    Ok(written.into_iter().map(|row| row.order_id).collect())
}

/// Stores the carrier's decisions about booked orders, and returns the orders that were not decided before. `outcomes`
/// must be sorted by order id, each order once.
///
/// # Errors
/// Returns database errors.
pub async fn decide(
    connection: &mut Connection,
    outcomes: &[(Uuid, &ShipOutcome)],
) -> Result<HashSet<Uuid>, StoreError> {
    let (mut orders, mut tracking_numbers, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (order, outcome) in outcomes {
        let (tracking_number, reason) = match outcome {
            ShipOutcome::Accepted { tracking_number } => (Some(tracking_number.as_str()), None),
            ShipOutcome::Refused { reason } => (None, Some(reason.as_str())),
        };
        orders.push(*order);
        tracking_numbers.push(tracking_number);
        reasons.push(reason);
    }
    // `ANY` as well: without statistics PostgreSQL expects a single shipment with this status, and reads all for it.
    let decided: Vec<Written> = diesel::sql_query(
        "UPDATE shipping.shipments
         SET status = CASE WHEN row.reason IS NULL THEN 'created' ELSE 'refused' END,
             tracking_number = row.tracking_number, reason = row.reason
         FROM unnest($1::uuid[], $2::text[], $3::text[]) AS row (order_id, tracking_number, reason)
         WHERE shipping.shipments.order_id = row.order_id AND shipping.shipments.status = 'booking'
           AND shipping.shipments.order_id = ANY($1)
         RETURNING shipping.shipments.order_id",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Array<Nullable<Text>>, _>(tracking_numbers)
    .bind::<Array<Nullable<Text>>, _>(reasons)
    .prepared()
    .load(connection)
    .await?;
    Ok(decided.into_iter().map(|row| row.order_id).collect())
}
