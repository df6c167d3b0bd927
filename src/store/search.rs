//! Orders as operators look through them.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde::Serialize;
use uuid::Uuid;

use super::{Connection, StoreError, story::Wanted};
use crate::timestamp;

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
    pub limit: i64,
}

/// What a search may take. There is no index on the status: those of one that is rare among millions of orders are not
/// found in that time, and whoever looks is told so.
const BOUND: &str = "SET LOCAL statement_timeout = '3s'";

/// Ids are UUIDv7, so their order is that in which orders were placed.
const COLUMNS: &str =
    "id AS order_id, number, status, version, cancel_requested, total, currency, created_at, updated_at";

/// What all searches have in common.
const FILTER: &str = "id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    AND ($2::text IS NULL OR status = $2) ORDER BY id DESC LIMIT $3";

/// The orders that are meant, newest first.
///
/// # Errors
/// Those of the database; that a statement took too long is one ([`StoreError::is_statement_timeout`]).
pub async fn orders(connection: &mut Connection, search: &Search) -> Result<Vec<Listed>, StoreError> {
    connection
        .build_transaction()
        .read_only()
        .run::<_, StoreError, _>(async |connection| {
            diesel::sql_query(BOUND).execute(connection).await?;
            load(connection, search).await
        })
        .await
}

async fn load(connection: &mut Connection, search: &Search) -> Result<Vec<Listed>, StoreError> {
    let condition = match &search.wanted {
        None => format!("SELECT {COLUMNS} FROM orders.orders WHERE {FILTER}"),
        Some(Wanted::Id(_)) => format!(
            "SELECT {COLUMNS} FROM orders.orders
             WHERE (id = $4 OR id IN (SELECT order_id FROM messaging.event_log WHERE event_id = $4)) AND {FILTER}"
        ),
        Some(Wanted::Number(_)) => format!("SELECT {COLUMNS} FROM orders.orders WHERE number = $4 AND {FILTER}"),
        // By its own index first, however many orders the planner expects of one address.
        Some(Wanted::Email(_)) => format!(
            "WITH mine AS MATERIALIZED (SELECT * FROM orders.orders WHERE lower(customer_email) = lower($4))
             SELECT {COLUMNS} FROM mine WHERE {FILTER}"
        ),
    };
    let query = diesel::sql_query(condition)
        .bind::<Nullable<SqlUuid>, _>(search.before)
        .bind::<Nullable<Text>, _>(search.status.as_deref())
        .bind::<BigInt, _>(search.limit);
    Ok(match &search.wanted {
        None => query.load(connection).await?,
        Some(Wanted::Id(id)) => query.bind::<SqlUuid, _>(*id).load(connection).await?,
        Some(Wanted::Number(number)) => query.bind::<Text, _>(number.as_str()).load(connection).await?,
        Some(Wanted::Email(email)) => query.bind::<Text, _>(email.as_str()).load(connection).await?,
    })
}
