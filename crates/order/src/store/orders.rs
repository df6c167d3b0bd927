//! Orders as customers see them: inserted by the front end, advanced by the order service.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, Selectable, SelectableHelper as _,
    sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};
use uuid::Uuid;

use super::schema::orders::{items, orders};
use crate::domain::{OrderNumber, OrderStatus};

/// An order to store. It has no `Debug`, since it holds personal data, which must not reach a log.
pub struct NewOrder {
    /// UUIDv7.
    pub id: Uuid,
    /// The number that customers quote on the phone.
    pub number: OrderNumber,
    /// Σ price × quantity, in minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// The customer's name.
    pub customer_name: String,
    /// The customer's e-mail address.
    pub customer_email: String,
    /// Street and number.
    pub address_line1: String,
    /// The rest of the address, if given.
    pub address_line2: Option<String>,
    /// Town.
    pub city: String,
    /// Postal code, if the country has postal codes.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// State, province or region, if given.
    pub state: Option<String>,
    /// The phone number for the carrier, if given.
    pub phone: Option<String>,
    /// The payment provider's name of the payment method.
    pub payment_method: String,
    /// When it was placed, in whole milliseconds, so that it reads back unchanged.
    pub created_at: DateTime<Utc>,
    /// The ordered items, in the order of the request.
    pub lines: Vec<Line>,
}

/// A line of an order, with the name and price at the time of the order.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = items)]
pub struct Line {
    /// The product.
    pub sku: String,
    /// The product's name at the time.
    pub name: String,
    /// The number of pieces.
    pub quantity: i32,
    /// The price of one piece, in minor units.
    pub price: i64,
}

/// Stores new orders as pending, at version 1: the version of the event `order.created`, which the caller appends in
/// the same transaction.
///
/// # Errors
/// Returns database errors. A unique violation means that an order number is taken.
pub async fn insert(connection: &mut Connection, fresh: &[&NewOrder]) -> Result<(), StoreError> {
    if fresh.is_empty() {
        return Ok(());
    }
    insert_orders(connection, fresh).await?;
    insert_items(connection, fresh).await
}

const INSERT_ORDERS: &str = "
INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email, address_line1,
                           address_line2, city, postal_code, country, state, phone, payment_method, created_at, updated_at)
SELECT id, number, $16, 1, total, currency, customer_name, customer_email, address_line1,
       address_line2, city, postal_code, country, state, phone, payment_method, created_at, created_at
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[])
    AS row (id, number, total, currency, customer_name, customer_email, address_line1,
            address_line2, city, postal_code, country, state, phone, payment_method, created_at)";

async fn insert_orders(connection: &mut Connection, fresh: &[&NewOrder]) -> Result<(), StoreError> {
    fn column<'o, T>(fresh: &[&'o NewOrder], of: impl Fn(&'o NewOrder) -> T) -> Vec<T> {
        fresh.iter().map(|order| of(order)).collect()
    }
    diesel::sql_query(INSERT_ORDERS)
        .bind::<Array<SqlUuid>, _>(column(fresh, |order| order.id))
        .bind::<Array<Text>, _>(column(fresh, |order| order.number.as_str()))
        .bind::<Array<BigInt>, _>(column(fresh, |order| order.total))
        .bind::<Array<Text>, _>(column(fresh, |order| order.currency.as_str()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.customer_name.as_str()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.customer_email.as_str()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.address_line1.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(fresh, |order| order.address_line2.as_deref()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.city.as_str()))
        // Programs before version 0.2 cannot read a null here.
        .bind::<Array<Text>, _>(column(fresh, |order| order.postal_code.as_deref().unwrap_or_default()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.country.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(fresh, |order| order.state.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(fresh, |order| order.phone.as_deref()))
        .bind::<Array<Text>, _>(column(fresh, |order| order.payment_method.as_str()))
        .bind::<Array<Timestamptz>, _>(column(fresh, |order| order.created_at))
        .bind::<Text, _>(OrderStatus::Pending.as_str())
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_items(connection: &mut Connection, fresh: &[&NewOrder]) -> Result<(), StoreError> {
    let (mut order_id, mut number) = (Vec::new(), Vec::new());
    let (mut sku, mut name, mut quantity, mut price) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for order in fresh {
        for (line, place) in order.lines.iter().zip(1_i16..) {
            order_id.push(order.id);
            number.push(place);
            sku.push(line.sku.as_str());
            name.push(line.name.as_str());
            quantity.push(line.quantity);
            price.push(line.price);
        }
    }
    diesel::sql_query(
        "INSERT INTO orders.items (order_id, line, sku, name, quantity, price)
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::int[], $6::bigint[])",
    )
    .bind::<Array<SqlUuid>, _>(order_id)
    .bind::<Array<SmallInt>, _>(number)
    .bind::<Array<Text>, _>(sku)
    .bind::<Array<Text>, _>(name)
    .bind::<Array<Integer>, _>(quantity)
    .bind::<Array<BigInt>, _>(price)
    .prepared()
    .execute(connection)
    .await?;
    Ok(())
}

/// An order as its customer sees it, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = orders)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The number that customers quote on the phone.
    pub number: String,
    /// Its status, by its name in the contract.
    pub status: String,
    /// The version of the last event folded into the status.
    pub version: i32,
    /// Whether a cancellation was requested. It stays true once the request is decided.
    pub cancel_requested: bool,
    /// Σ price × quantity, in minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Returns the order with this id, if it exists.
///
/// # Errors
/// Returns database errors.
pub async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Order>, StoreError> {
    Ok(orders::table.find(id).select(Order::as_select()).first(connection).await.optional()?)
}

/// Returns the ordered items, in the order of the request.
///
/// # Errors
/// Returns database errors.
pub async fn lines(connection: &mut Connection, order_id: Uuid) -> Result<Vec<Line>, StoreError> {
    Ok(items::table
        .filter(items::order_id.eq(order_id))
        .order(items::line)
        .select(Line::as_select())
        .load(connection)
        .await?)
}

/// Returns the numbers of these orders. An unknown order is left out.
///
/// # Errors
/// Returns database errors.
pub async fn numbers(connection: &mut Connection, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, StoreError> {
    let rows: Vec<(Uuid, String)> =
        orders::table.filter(orders::id.eq_any(ids)).select((orders::id, orders::number)).load(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Returns the id of the order with this number, if it exists.
///
/// # Errors
/// Returns database errors.
pub async fn id_of_number(connection: &mut Connection, number: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(orders::table.filter(orders::number.eq(number)).select(orders::id).first(connection).await.optional()?)
}
