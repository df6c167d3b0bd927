//! Which order a person means.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_order::domain::OrderNumber;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use uuid::Uuid;

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

impl Wanted {
    /// What is true of the orders that are meant, in SQL in which `$1` is [`Wanted::text`]. Each finds them by an index: an
    /// event's orders are looked up first, since an "or" of both would read every order there is.
    #[must_use]
    pub const fn condition(&self) -> &'static str {
        match self {
            Self::Id(_) => {
                "id = ANY (ARRAY(SELECT order_id FROM messaging.v_event_log WHERE event_id = $1::uuid) || $1::uuid)"
            }
            Self::Number(_) => "number = $1",
            Self::Email(_) => "lower(customer_email) = lower($1)",
        }
    }

    /// What was asked for, for [`Wanted::condition`].
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Number(number) => number.as_str().to_owned(),
            Self::Email(email) => email.clone(),
        }
    }
}

/// The orders that are meant, newest first, at most `limit`: only an e-mail address can mean more than one.
///
/// # Errors
/// Those of the database.
pub async fn find(connection: &mut Connection, wanted: &Wanted, limit: i64) -> Result<Vec<Found>, StoreError> {
    let query = format!(
        "SELECT id AS order_id, number, status, created_at FROM orders.orders
         WHERE {} ORDER BY created_at DESC, id LIMIT $2",
        wanted.condition()
    );
    Ok(diesel::sql_query(query).bind::<Text, _>(wanted.text()).bind::<BigInt, _>(limit).load(connection).await?)
}
