//! Finds the order that an operator names.

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

/// How an operator names an order. It has no `Debug`, since it may be an e-mail address.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By its id, or by the id of one of its events, which RabbitMQ shows.
    Id(Uuid),
    /// By its number.
    Number(OrderNumber),
    /// By the customer's address, ignoring case.
    Email(String),
}

/// An order that was found.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Found {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// The number that customers quote on the phone.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// Its status.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// When it was placed.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
}

impl Wanted {
    /// Returns the SQL condition for the orders meant; its `$1` is [`Wanted::text`].
    ///
    /// Each condition uses an index. A subquery looks up an event's orders, since an `OR` would read every order.
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

    /// Returns the parameter of [`Wanted::condition`].
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Number(number) => number.as_str().to_owned(),
            Self::Email(email) => email.clone(),
        }
    }
}

/// Returns the orders meant, newest first, at most `limit`. Only an e-mail address can mean more than one.
///
/// # Errors
/// Returns database errors.
pub async fn find(connection: &mut Connection, wanted: &Wanted, limit: i64) -> Result<Vec<Found>, StoreError> {
    let query = format!(
        "SELECT id AS order_id, number, status, created_at FROM orders.orders
         WHERE {} ORDER BY created_at DESC, id LIMIT $2",
        wanted.condition()
    );
    Ok(diesel::sql_query(query).bind::<Text, _>(wanted.text()).bind::<BigInt, _>(limit).load(connection).await?)
}
