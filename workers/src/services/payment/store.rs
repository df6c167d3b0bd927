//! The payment service's rows.

use std::collections::{HashMap, HashSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};
use uuid::Uuid;

use super::keys::payment_id;

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
    .prepared()
    .load(connection)
    .await?;
    Ok(due.into_iter().map(|due| (due.order_id, due)).collect())
}

/// What stands in an order's payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// Charged, and kept so far.
    Succeeded {
        /// The provider's name for the charge.
        charge_id: String,
        /// Minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
    },
    /// Declined: nothing was charged.
    Declined,
    /// Given back, or given up before it was charged.
    Reversed,
}

#[derive(QueryableByName)]
struct PaymentRow {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Text>)]
    charge_id: Option<String>,
    #[diesel(sql_type = Bool)]
    reversed: bool,
}

/// What stands in these orders' payments; an order without one is left out.
///
/// # Errors
/// Those of the database.
pub async fn payments(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, Payment>, StoreError> {
    let rows: Vec<PaymentRow> = diesel::sql_query(
        "SELECT order_id, status, amount, currency, charge_id, reversed_at IS NOT NULL AS reversed
         FROM payment.payments WHERE order_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(orders)
    .prepared()
    .load(connection)
    .await?;
    let payment = |row: PaymentRow| match (row.status.as_str(), row.charge_id) {
        _ if row.reversed => Payment::Reversed,
        ("succeeded", Some(charge_id)) => Payment::Succeeded { charge_id, amount: row.amount, currency: row.currency },
        _ => Payment::Declined,
    };
    Ok(rows.into_iter().map(|row| (row.order_id, payment(row))).collect())
}

/// A charge that went through, or one that was declined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The provider's name for the charge where it succeeded, its reason where it declined.
    pub outcome: Result<String, String>,
}

/// Writes charges down, given sorted by their orders' ids, and returns the orders that had no payment yet: an order
/// keeps its first.
///
/// # Errors
/// Those of the database.
pub async fn record(connection: &mut Connection, charges: &[(Uuid, &Charge)]) -> Result<HashSet<Uuid>, StoreError> {
    let recorded: Vec<Written> = diesel::sql_query(
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id, reason)
         SELECT order_id, payment_id, CASE WHEN reason IS NULL THEN 'succeeded' ELSE 'declined' END,
                amount, currency, charge_id, reason
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
             AS row (order_id, payment_id, amount, currency, charge_id, reason)
         ON CONFLICT (order_id) DO NOTHING RETURNING order_id",
    )
    .bind::<Array<SqlUuid>, _>(charges.iter().map(|(order, _)| *order).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(charges.iter().map(|(order, _)| payment_id(*order)).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(charges.iter().map(|(_, one)| one.amount).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(charges.iter().map(|(_, one)| one.currency.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(charges.iter().map(|(_, one)| one.outcome.as_ref().ok()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(charges.iter().map(|(_, one)| one.outcome.as_ref().err()).collect::<Vec<_>>())
    .prepared()
    .load(connection)
    .await?;
    Ok(recorded.into_iter().map(|row| row.order_id).collect())
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
}

/// The end of a payment whose order does not ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversing {
    /// What was charged, or would have been; minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The provider's names for the charge and for its refund; none where nothing was charged.
    pub refund: Option<(String, String)>,
}

/// Writes down that payments are given back or given up, given sorted by their orders' ids, and returns those for which
/// that was not written yet. An order that has no payment gets one here, which keeps it from being charged later.
///
/// # Errors
/// Those of the database.
pub async fn reverse(
    connection: &mut Connection,
    reversals: &[(Uuid, &Reversing)],
) -> Result<HashSet<Uuid>, StoreError> {
    // A declined payment stays declined: that it is looked after is all there is to write. What was charged can only
    // end refunded, so a row of another kind than its reversal is left alone and its order not returned.
    let reversed: Vec<Written> = diesel::sql_query(
        "INSERT INTO payment.payments AS payment
             (order_id, payment_id, status, amount, currency, charge_id, refund_id, reversed_at)
         SELECT order_id, payment_id, CASE WHEN refund_id IS NULL THEN 'voided' ELSE 'refunded' END,
                amount, currency, charge_id, refund_id, now()
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
             AS row (order_id, payment_id, amount, currency, charge_id, refund_id)
         ON CONFLICT (order_id) DO UPDATE SET
             status = CASE WHEN payment.status = 'succeeded' THEN 'refunded' ELSE payment.status END,
             refund_id = excluded.refund_id, reversed_at = excluded.reversed_at
         WHERE payment.reversed_at IS NULL
           AND (payment.status = 'succeeded') = (excluded.refund_id IS NOT NULL)
         RETURNING order_id",
    )
    .bind::<Array<SqlUuid>, _>(reversals.iter().map(|(order, _)| *order).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reversals.iter().map(|(order, _)| payment_id(*order)).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(reversals.iter().map(|(_, one)| one.amount).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reversals.iter().map(|(_, one)| one.currency.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(names(reversals, |(charge, _)| charge))
    .bind::<Array<Nullable<Text>>, _>(names(reversals, |(_, refund)| refund))
    .prepared()
    .load(connection)
    .await?;
    let reversed: HashSet<Uuid> = reversed.into_iter().map(|row| row.order_id).collect();
    let others: Vec<Uuid> =
        reversals.iter().map(|(order, _)| *order).filter(|order| !reversed.contains(order)).collect();
    // A payment that changed its kind since it was looked at: the next attempt sees it as it is now.
    if let Some((order, _)) =
        payments(connection, &others).await?.iter().find(|(_, payment)| **payment != Payment::Reversed)
    {
        return Err(StoreError::Corrupt(format!("the payment of order {order} is not what its reversal took it for")));
    }
    Ok(reversed)
}

fn names<'r>(
    reversals: &[(Uuid, &'r Reversing)],
    which: fn(&'r (String, String)) -> &'r String,
) -> Vec<Option<&'r String>> {
    reversals.iter().map(|(_, one)| one.refund.as_ref().map(which)).collect()
}
