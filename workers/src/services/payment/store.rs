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

/// The amount due for an order, and its payment method.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Due {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    /// The provider's name for the payment method.
    #[diesel(sql_type = Text, column_name = "payment_method")]
    pub method: String,
    /// The total, in minor units.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
}

/// Returns the amount due for each of these orders. Leaves out orders that do not exist.
///
/// # Errors
/// Returns database errors.
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

/// The state of an order's payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// Charged and not refunded.
    Succeeded {
        /// The provider's name for the charge.
        charge_id: String,
        /// The amount, in minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
    },
    /// Declined: nothing was charged.
    Declined,
    /// Refunded, or voided before it was charged.
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

/// Returns the state of these orders' payments. Leaves out orders without one.
///
/// # Errors
/// Returns database errors.
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

/// A successful or declined charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The amount, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The provider's name for the charge if it succeeded, else the reason for the decline.
    pub outcome: Result<String, String>,
}

/// Stores charges and returns the orders that had no payment yet: an order keeps its first. `charges` must be sorted by
/// order id.
///
/// # Errors
/// Returns database errors.
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

/// The reversal of the payment of an order that does not ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversing {
    /// The amount that was charged or would have been, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The provider's names for the charge and its refund; `None` if nothing was charged.
    pub refund: Option<(String, String)>,
}

/// Stores that payments are refunded or voided, and returns the orders for which that was not stored yet. An order
/// without a payment gets one here, which prevents a later charge. `reversals` must be sorted by order id.
///
/// # Errors
/// Returns database errors, and [`StoreError::Corrupt`] if a payment changed while it was being reversed.
pub async fn reverse(
    connection: &mut Connection,
    reversals: &[(Uuid, &Reversing)],
) -> Result<HashSet<Uuid>, StoreError> {
    // A declined payment stays declined; only the time of its reversal is stored. A successful charge must end
    // refunded, so rows that do not match their reversal are not updated, and their orders not returned.
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
    // Their payments have changed since they were read. The next attempt reads the current state.
    if let Some((order, _)) =
        payments(connection, &others).await?.iter().find(|(_, payment)| **payment != Payment::Reversed)
    {
        return Err(StoreError::Corrupt(format!("the payment of order {order} changed while it was being reversed")));
    }
    Ok(reversed)
}

fn names<'r>(
    reversals: &[(Uuid, &'r Reversing)],
    which: fn(&'r (String, String)) -> &'r String,
) -> Vec<Option<&'r String>> {
    reversals.iter().map(|(_, one)| one.refund.as_ref().map(which)).collect()
}
