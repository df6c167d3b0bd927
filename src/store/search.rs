//! Orders as operators look through them.

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

/// An order, without who ordered.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Listed {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// What people read out on the phone.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The version of the last event that is folded into the status.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Whether the customer asked for it to be cancelled and that is not decided yet.
    #[diesel(sql_type = Bool)]
    pub cancel_requested: bool,
    /// Minor units.
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

/// Which orders. It has no `Debug`: an e-mail address may be in it.
#[derive(Clone)]
pub struct Search {
    /// The one that is named, or all of one address; none: all.
    pub wanted: Option<Wanted>,
    /// Only those with this status.
    pub status: Option<String>,
    /// Only those placed before this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
    /// By status alone, how many orders are looked through for them.
    pub span: u32,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The orders, newest first.
    pub orders: Vec<Listed>,
    /// What the next part has as [`Search::before`]; none: this is the last. A part that looked through as many orders as
    /// it may can be short, or empty, and still have a next one.
    pub next: Option<Uuid>,
}

/// What a statement may take; whoever looks is told when that is not enough.
const BOUND: &str = "SET LOCAL statement_timeout = '3s'";

/// What is told of an order.
const COLUMNS: &str =
    "id AS order_id, number, status, version, cancel_requested, total, currency, created_at, updated_at";

/// A part of the orders that are meant, newest first.
///
/// # Errors
/// Those of the database; that a statement took too long is one ([`StoreError::is_statement_timeout`]).
pub async fn orders(connection: &mut Connection, search: &Search) -> Result<Part, StoreError> {
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            diesel::sql_query("SET TRANSACTION READ ONLY").execute(connection).await?;
            diesel::sql_query(BOUND).execute(connection).await?;
            // There is no index on the status, since each order's changes some three times.
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

/// The first order that is not looked at any more, where there are so many.
async fn floor(connection: &mut Connection, search: &Search) -> Result<Option<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    // Ids are UUIDv7, so their order is that in which orders were placed.
    let rows: Vec<Row> =
        diesel::sql_query("SELECT id FROM orders.orders WHERE id < $1 ORDER BY id DESC OFFSET $2 LIMIT 1")
            .bind::<SqlUuid, _>(search.before.unwrap_or(Uuid::max()))
            .bind::<BigInt, _>(i64::from(search.span.max(1)) - 1)
            .load(connection)
            .await?;
    Ok(rows.into_iter().next().map(|row| row.id))
}

/// Those from the floor on, and one more than are wanted where there is a next part.
async fn load(connection: &mut Connection, search: &Search, floor: Option<Uuid>) -> Result<Vec<Listed>, StoreError> {
    // By its own index first, however many orders the planner expects of one address.
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
