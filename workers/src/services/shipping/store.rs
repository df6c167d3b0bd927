//! The shipping service's rows.

use std::collections::{HashMap, HashSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow::store::{Connection, StoreError};
use uuid::Uuid;

use crate::providers::carrier::{Address, Content, ShipOutcome};

/// What is to be shipped, and where.
#[derive(Debug, Clone)]
pub struct Consignment {
    /// Where it goes.
    pub address: Address,
    /// What is in it.
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

/// What is to be shipped for each of these orders; an order that does not exist is left out.
///
/// # Errors
/// Those of the database.
pub async fn consignments(
    connection: &mut Connection,
    orders: &[Uuid],
) -> Result<HashMap<Uuid, Consignment>, StoreError> {
    let addresses: Vec<AddressRow> = diesel::sql_query(
        "SELECT order_id, name, address_line1, address_line2, city, postal_code, country
         FROM orders.v_shipping WHERE order_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .load(connection)
    .await?;
    let items: Vec<ItemRow> = diesel::sql_query(
        "SELECT order_id, sku, quantity FROM orders.v_items WHERE order_id = ANY($1) ORDER BY order_id, line",
    )
    .bind::<Array<SqlUuid>, _>(orders)
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
        postal_code: row.postal_code,
        country: row.country,
    };
    (row.order_id, Consignment { address, contents: Vec::new() })
}

/// Decides the fate of orders, given sorted and each once, and returns those that were undecided until now.
///
/// An order's row is its decision: whoever writes it first has decided, and everybody else finds it there.
///
/// # Errors
/// Those of the database.
pub async fn decide(
    connection: &mut Connection,
    outcomes: &[(Uuid, &ShipOutcome)],
) -> Result<HashSet<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Decided {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
    }
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
    let decided: Vec<Decided> = diesel::sql_query(
        "INSERT INTO shipping.shipments (order_id, status, tracking_number, reason)
         SELECT order_id, CASE WHEN reason IS NULL THEN 'created' ELSE 'refused' END, tracking_number, reason
         FROM unnest($1::uuid[], $2::text[], $3::text[]) AS row (order_id, tracking_number, reason)
         ON CONFLICT (order_id) DO NOTHING RETURNING order_id",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Array<Nullable<Text>>, _>(tracking_numbers)
    .bind::<Array<Nullable<Text>>, _>(reasons)
    .load(connection)
    .await?;
    Ok(decided.into_iter().map(|row| row.order_id).collect())
}
