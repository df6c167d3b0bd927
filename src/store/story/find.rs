//! Which order a person means.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::OrderNumber,
    store::{Connection, StoreError},
    timestamp,
};

/// How a person names an order. It has no `Debug`: it may be an e-mail address.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By its id, or by that of one of its events, which is what RabbitMQ shows.
    Id(Uuid),
    /// By its number.
    Number(OrderNumber),
    /// By the customer's address, whatever its case.
    Email(String),
}

/// An order that was found.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Found {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// What people read out on the phone.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// When it was placed.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
}

const BY_ID: &str = "
SELECT id AS order_id, number, status, created_at FROM orders.orders
WHERE id = $1 OR id IN (SELECT order_id FROM messaging.event_log WHERE event_id = $1) LIMIT $2";

const BY_NUMBER: &str =
    "SELECT id AS order_id, number, status, created_at FROM orders.orders WHERE number = $1 LIMIT $2";

const BY_EMAIL: &str = "
SELECT id AS order_id, number, status, created_at FROM orders.orders
WHERE lower(customer_email) = lower($1) ORDER BY created_at DESC, id LIMIT $2";

/// The orders that are meant, newest first, at most `limit`: only an e-mail address can mean more than one.
///
/// # Errors
/// Those of the database.
pub async fn find(connection: &mut Connection, wanted: &Wanted, limit: i64) -> Result<Vec<Found>, StoreError> {
    Ok(match wanted {
        Wanted::Id(id) => {
            diesel::sql_query(BY_ID).bind::<SqlUuid, _>(*id).bind::<BigInt, _>(limit).load(connection).await?
        }
        Wanted::Number(number) => {
            diesel::sql_query(BY_NUMBER)
                .bind::<Text, _>(number.as_str())
                .bind::<BigInt, _>(limit)
                .load(connection)
                .await?
        }
        Wanted::Email(email) => {
            diesel::sql_query(BY_EMAIL)
                .bind::<Text, _>(email.as_str())
                .bind::<BigInt, _>(limit)
                .load(connection)
                .await?
        }
    })
}
