//! Searches orders for operators.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use uuid::Uuid;

use super::story::Wanted;

/// An order in the list, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Listed {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// The number that customers quote on the phone.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// Its status.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The version of the last event folded into the status.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Whether the customer requested a cancellation. It stays true once the request is decided.
    #[diesel(sql_type = Bool)]
    pub cancel_requested: bool,
    /// The total in minor units.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// When it was placed.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    #[diesel(sql_type = Timestamptz)]
    #[serde(with = "timestamp")]
    pub updated_at: DateTime<Utc>,
}

/// A search for orders. It has no `Debug`, since it may contain an e-mail address.
#[derive(Clone)]
pub struct Search {
    /// The named order, or all orders of one address; `None` means all orders.
    pub wanted: Option<Wanted>,
    /// Only orders with this status.
    pub status: Option<String>,
    /// Only orders placed before this one.
    pub before: Option<Uuid>,
    /// The most orders to return.
    pub limit: u32,
    /// The most orders to read in a search by status alone.
    pub span: u32,
}

/// One page of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The orders, newest first.
    pub orders: Vec<Listed>,
    /// The [`Search::before`] of the next page; `None` on the last page. A page that reached [`Search::span`] may be
    /// short or empty and still have a next one.
    pub next: Option<Uuid>,
}

/// The time limit of a statement. Callers report it when a search exceeds it.
const BOUND: &str = "SET LOCAL statement_timeout = '3s'";

/// The columns of [`Listed`].
const COLUMNS: &str =
    "id AS order_id, number, status, version, cancel_requested, total, currency, created_at, updated_at";

/// Returns one page of the orders that match, newest first.
///
/// # Errors
/// Returns database errors, including a statement time-out ([`StoreError::is_statement_timeout`]).
pub async fn orders(connection: &mut Connection, search: &Search) -> Result<Part, StoreError> {
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            diesel::sql_query("SET TRANSACTION READ ONLY").execute(connection).await?;
            diesel::sql_query(BOUND).execute(connection).await?;
            // The status has no index: each order's status changes about three times, and each change would update it.
            let floor = match (&search.wanted, &search.status) {
                (None, Some(_)) => floor(connection, search).await?,
                _ => None,
            };
            let mut orders = load(connection, search, floor).await?;
            let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
            let more = orders.len() > limit;
            orders.truncate(limit);
            let next = if more { orders.last().map(|order| order.order_id) } else { floor };
            Ok(Part { orders, next })
        })
        .await
}

/// Returns the id of the last order that a search by status may read; `None` if there are fewer orders than that.
async fn floor(connection: &mut Connection, search: &Search) -> Result<Option<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    // Ids are UUIDv7, so they sort by the time the orders were placed.
    let rows: Vec<Row> =
        diesel::sql_query("SELECT id FROM orders.orders WHERE id < $1 ORDER BY id DESC OFFSET $2 LIMIT 1")
            .bind::<SqlUuid, _>(search.before.unwrap_or(Uuid::max()))
            .bind::<BigInt, _>(i64::from(search.span.max(1)) - 1)
            .load(connection)
            .await?;
    Ok(rows.into_iter().next().map(|row| row.id))
}

/// Returns the matching orders from the floor on, up to one more than the limit: the extra one shows that more follow.
async fn load(connection: &mut Connection, search: &Search, floor: Option<Uuid>) -> Result<Vec<Listed>, StoreError> {
    // MATERIALIZED makes PostgreSQL use the condition's own index first, however many orders it expects for an address.
    let (named, of) = match &search.wanted {
        Some(wanted) => {
            let condition = wanted.condition();
            (format!("WITH named AS MATERIALIZED (SELECT * FROM orders.orders WHERE {condition})"), "named")
        }
        None => (String::new(), "orders.orders"),
    };
    let query = format!(
        "{named} SELECT {COLUMNS} FROM {of}
         WHERE id < $2 AND id >= $3 AND ($4::text IS NULL OR status = $4) ORDER BY id DESC LIMIT $5"
    );
    Ok(diesel::sql_query(query)
        .bind::<Nullable<Text>, _>(search.wanted.as_ref().map(Wanted::text))
        .bind::<SqlUuid, _>(search.before.unwrap_or(Uuid::max()))
        .bind::<SqlUuid, _>(floor.unwrap_or(Uuid::nil()))
        .bind::<Nullable<Text>, _>(search.status.as_deref())
        .bind::<BigInt, _>(i64::from(search.limit) + 1)
        .load(connection)
        .await?)
}
