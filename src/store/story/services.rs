//! What each service did for an order, read through its views.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use uuid::Uuid;

/// A payment, as the payment service recorded it.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Payment {
    /// Our own id of the payment.
    #[diesel(sql_type = Text)]
    pub payment_id: String,
    /// `succeeded`, `declined`, `voided` (nothing was charged, and nothing will be) or `refunded`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The amount in minor units.
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// The provider's id of the charge.
    #[diesel(sql_type = Nullable<Text>)]
    pub charge_id: Option<String>,
    /// The provider's id of the refund.
    #[diesel(sql_type = Nullable<Text>)]
    pub refund_id: Option<String>,
    /// Why it was declined.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was decided.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When it was refunded or voided.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(with = "timestamp::optional")]
    pub reversed_at: Option<DateTime<Utc>>,
}

/// Returns the order's payments: currently at most one.
///
/// # Errors
/// Returns database errors.
pub async fn payments(connection: &mut Connection, order: Uuid) -> Result<Vec<Payment>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT payment_id, status, amount, currency, charge_id, refund_id, reason, created_at, reversed_at
         FROM payment.v_payments WHERE order_id = $1 ORDER BY created_at, payment_id",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}

/// A reservation, as the inventory service decided it.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Reservation {
    /// `reserved`, `rejected`, `released` or `cancelled`.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// When it was decided.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub decided_at: DateTime<Utc>,
    /// When the stock was released.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(with = "timestamp::optional")]
    pub released_at: Option<DateTime<Utc>>,
}

/// Returns the order's reservation, if the inventory service has decided it.
///
/// # Errors
/// Returns database errors.
pub async fn reservation(connection: &mut Connection, order: Uuid) -> Result<Option<Reservation>, StoreError> {
    let rows: Vec<Reservation> =
        diesel::sql_query("SELECT outcome, decided_at, released_at FROM inventory.v_reservations WHERE order_id = $1")
            .bind::<SqlUuid, _>(order)
            .load(connection)
            .await?;
    Ok(rows.into_iter().next())
}

/// A change of stock that the order caused.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Movement {
    /// The product.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// `reserved` or `released`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The change in available pieces: negative when they were reserved.
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub occurred_at: DateTime<Utc>,
}

/// Returns the changes of stock that the order caused, oldest first.
///
/// # Errors
/// Returns database errors.
pub async fn movements(connection: &mut Connection, order: Uuid) -> Result<Vec<Movement>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT sku, kind, quantity, occurred_at FROM inventory.v_movements
         WHERE order_id = $1 ORDER BY occurred_at, sku, kind",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}

/// A shipment, as the shipping service recorded it.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Shipment {
    /// `booking`, `created`, `refused` or `cancelled`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The carrier's number that the customer can track the parcel with.
    #[diesel(sql_type = Nullable<Text>)]
    pub tracking_number: Option<String>,
    /// Why the carrier refused it.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was decided.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
}

/// Returns the order's shipments: currently at most one.
///
/// # Errors
/// Returns database errors.
pub async fn shipments(connection: &mut Connection, order: Uuid) -> Result<Vec<Shipment>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT status, tracking_number, reason, created_at FROM shipping.v_shipments
         WHERE order_id = $1 ORDER BY created_at",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}

/// A mail to the customer, without the address.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Mail {
    /// Its kind: `received`, `declined`, `shipped`, …
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The Message-ID, which a mail server's log shows.
    #[diesel(sql_type = Text)]
    pub message_id: String,
    /// When it was planned.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When a mail server accepted it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(with = "timestamp::optional")]
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was held back because its address had already received too many mails (`MAIL_LIMIT`).
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(with = "timestamp::optional", skip_serializing_if = "Option::is_none")]
    pub held_back_at: Option<DateTime<Utc>>,
}

/// Returns the mails to the customer, oldest first.
///
/// # Errors
/// Returns database errors.
pub async fn mails(connection: &mut Connection, order: Uuid) -> Result<Vec<Mail>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT kind, message_id, created_at, sent_at, held_back_at FROM email.v_mails
         WHERE order_id = $1 ORDER BY created_at, kind",
    )
    .bind::<SqlUuid, _>(order)
    .load(connection)
    .await?)
}
