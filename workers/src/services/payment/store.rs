//! The payment service's rows.

use std::collections::{HashMap, HashSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow::store::{Connection, StoreError};
use uuid::Uuid;

/// What an order costs, and how it is to be paid.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Due {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    /// The provider's name for the card.
    #[diesel(sql_type = Text, column_name = "payment_method")]
    pub method: String,
    /// Minor units.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
}

/// What is due for each of these orders; an order that does not exist is left out.
///
/// # Errors
/// Those of the database.
pub async fn due(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Due>, StoreError> {
    let due: Vec<Due> = diesel::sql_query(
        "SELECT order_id, payment_method, total, currency FROM orders.v_payment WHERE order_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .load(connection)
    .await?;
    Ok(due.into_iter().map(|due| (due.order_id, due)).collect())
}

/// A payment that went through, or one that was declined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The order.
    pub order_id: Uuid,
    /// Our own id.
    pub payment_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The provider's id of the charge where it succeeded, its reason where it declined.
    pub charge: Result<String, String>,
}

/// Writes payments down and returns the `payment_id`s of those that were; an order keeps its first payment. The rows
/// are written in the order of the orders' ids, so that two workers wait for each other one way only.
///
/// # Errors
/// Those of the database.
pub async fn record(connection: &mut Connection, payments: &[Payment]) -> Result<HashSet<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Recorded {
        #[diesel(sql_type = Text)]
        payment_id: String,
    }
    let recorded: Vec<Recorded> = diesel::sql_query(
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id, reason)
         SELECT order_id, payment_id, CASE WHEN reason IS NULL THEN 'succeeded' ELSE 'declined' END,
                amount, currency, charge_id, reason
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
             AS row (order_id, payment_id, amount, currency, charge_id, reason)
         ORDER BY order_id
         ON CONFLICT (order_id) DO NOTHING RETURNING payment_id",
    )
    .bind::<Array<SqlUuid>, _>(payments.iter().map(|one| one.order_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(payments.iter().map(|one| one.payment_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(payments.iter().map(|one| one.amount).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(payments.iter().map(|one| one.currency.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(payments.iter().map(|one| one.charge.as_ref().ok()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(payments.iter().map(|one| one.charge.as_ref().err()).collect::<Vec<_>>())
    .load(connection)
    .await?;
    Ok(recorded.into_iter().map(|row| row.payment_id).collect())
}
