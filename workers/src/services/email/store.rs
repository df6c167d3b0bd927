//! The email service's rows, and the data that it reads from orders.

use std::{collections::HashMap, num::NonZeroU32};

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryableByName,
    dsl::now,
    sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};
use uuid::Uuid;

use crate::services::email::schema::email::mails;

/// A planned mail, and the data of its order. It has no `Debug`, so that it cannot appear in logs.
#[derive(Clone, QueryableByName)]
pub struct Intent {
    /// The order's id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// The Message-ID, without angle brackets.
    #[diesel(sql_type = Text)]
    pub message_id: String,
    /// Whether the mail was sent or is held back.
    #[diesel(sql_type = Bool)]
    pub is_done: bool,
    /// The order's number.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// The customer's name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The customer's address.
    #[diesel(sql_type = Text)]
    pub email: String,
    /// The total, in minor units.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// When the order was placed.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// One line of an order.
#[derive(Debug, Clone, QueryableByName)]
pub struct Item {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    /// The product's name when it was ordered.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The number of pieces.
    #[diesel(sql_type = Integer)]
    pub quantity: i32,
    /// The price of one piece, in minor units.
    #[diesel(sql_type = BigInt)]
    pub price: i64,
}

#[cfg(test)]
impl Item {
    /// Returns a line of some order.
    pub fn new(name: &str, quantity: i32, price: i64) -> Self {
        Self { order_id: Uuid::nil(), name: name.to_owned(), quantity, price }
    }
}

/// Plans a mail of this kind for each of these orders, and returns the orders for which none was planned yet. Leaves
/// out orders that do not exist.
///
/// The Message-ID is derived from order and kind. The first one stored counts, even if the sender's domain has changed
/// since.
///
/// # Errors
/// Returns database errors.
pub async fn plan(
    connection: &mut Connection,
    kind: &str,
    domain: &str,
    orders: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Planned {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
    }
    // Sorted by order id, so that two workers cannot deadlock.
    let planned: Vec<Planned> = diesel::sql_query(
        "INSERT INTO email.mails (order_id, kind, message_id)
         SELECT order_id, $2, order_id || '.' || $2 || '@' || $3
         FROM orders.v_contact WHERE order_id = ANY($1) ORDER BY order_id
         ON CONFLICT (order_id, kind) DO NOTHING RETURNING order_id",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Text, _>(kind)
    .bind::<Text, _>(domain)
    .prepared()
    .load(connection)
    .await?;
    Ok(planned.into_iter().map(|row| row.order_id).collect())
}

/// Holds back those of these newly planned mails with which their address would get more than `most` of the kind within
/// an hour, and returns how many. Workers that plan at the same time do not see each other's mails, so an address may
/// get a few more.
///
/// # Errors
/// Returns database errors.
pub async fn hold_back(
    connection: &mut Connection,
    kind: &str,
    planned: &[Uuid],
    most: NonZeroU32,
) -> Result<usize, StoreError> {
    if planned.is_empty() {
        return Ok(0);
    }
    // Addresses are compared without case, as mail programs do. Earlier mails are counted once per address, not per
    // order.
    let held_back = diesel::sql_query(
        "WITH fresh AS (
             SELECT order_id, lower(email) AS address,
                    row_number() OVER (PARTITION BY lower(email) ORDER BY order_id) AS nth
             FROM orders.v_contact WHERE order_id = ANY($1)
         ), had AS (
             SELECT address, (
                 SELECT count(*) FROM orders.v_contact AS contact JOIN email.mails USING (order_id)
                 WHERE lower(contact.email) = address AND kind = $2 AND mails.created_at > now() - interval '1 hour'
                   AND held_back_at IS NULL AND order_id <> ALL($1)
             ) AS mails FROM (SELECT DISTINCT address FROM fresh) AS addresses
         )
         UPDATE email.mails SET held_back_at = now() FROM fresh JOIN had USING (address)
         WHERE mails.order_id = fresh.order_id AND kind = $2 AND had.mails + fresh.nth > $3",
    )
    .bind::<Array<SqlUuid>, _>(planned)
    .bind::<Text, _>(kind)
    .bind::<BigInt, _>(i64::from(most.get()))
    .prepared()
    .execute(connection)
    .await?;
    Ok(held_back)
}

/// Returns the planned mails of this kind for these orders. Leaves out orders without one.
///
/// # Errors
/// Returns database errors.
pub async fn intents(
    connection: &mut Connection,
    kind: &str,
    orders: &[Uuid],
) -> Result<HashMap<Uuid, Intent>, StoreError> {
    let intents: Vec<Intent> = diesel::sql_query(
        "SELECT order_id, message_id, sent_at IS NOT NULL OR held_back_at IS NOT NULL AS is_done,
                number, name, email, total, currency, contact.created_at
         FROM email.mails JOIN orders.v_contact AS contact USING (order_id)
         WHERE order_id = ANY($1) AND kind = $2",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .bind::<Text, _>(kind)
    .prepared()
    .load(connection)
    .await?;
    Ok(intents.into_iter().map(|intent| (intent.order_id, intent)).collect())
}

/// Returns the lines of these orders, in the order in which they were placed.
///
/// # Errors
/// Returns database errors.
pub async fn items(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Vec<Item>>, StoreError> {
    let rows: Vec<Item> = diesel::sql_query(
        "SELECT order_id, name, quantity, price FROM orders.v_items WHERE order_id = ANY($1) ORDER BY order_id, line",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .prepared()
    .load(connection)
    .await?;
    let mut items: HashMap<Uuid, Vec<Item>> = HashMap::new();
    for item in rows {
        items.entry(item.order_id).or_default().push(item);
    }
    Ok(items)
}

/// Marks these orders' mails of this kind as sent; the first time counts. Two workers cannot deadlock here: the inbox
/// gives each event to only one of them.
///
/// # Errors
/// Returns database errors.
pub async fn mark_sent(connection: &mut Connection, kind: &str, orders: &[Uuid]) -> Result<(), StoreError> {
    diesel::update(mails::table)
        .filter(mails::order_id.eq_any(orders))
        .filter(mails::kind.eq(kind))
        .filter(mails::sent_at.is_null())
        .filter(mails::held_back_at.is_null())
        .set(mails::sent_at.eq(now))
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}
