//! Everything that an audit reads about one range of orders, on one snapshot.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryDsl as _, Queryable, QueryableByName,
    sql_types::{Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_order::store::schema::orders::orders;
use orderflow_service::store::{Connection, StoreError, missing::ConsumedEvents};
use uuid::Uuid;

use super::{Broken, KeyRow, Scope, Unapplied, check::broken, keys::troubles, unapplied::unapplied, walk::Range};

/// An order's row.
#[derive(Debug, Clone, Queryable)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its number.
    pub number: String,
    /// Its status.
    pub status: String,
    /// The version of the last event folded into the status.
    pub version: i32,
    /// Whether a cancellation was requested.
    pub cancel_requested: bool,
}

/// An event, with the fields that show whether its order's history is legal.
#[derive(Debug, Clone, QueryableByName)]
pub struct Entry {
    /// Its order.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// Its place in the order's log.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// The id of the event that caused it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub causation_id: Option<Uuid>,
}

/// An event that the broker should have confirmed by now.
#[derive(Debug, Clone, QueryableByName)]
pub struct Unpublished {
    /// Its order.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The rows read, and the violations found in SQL.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The orders, by id.
    pub orders: Vec<Placed>,
    /// Their log, by order and version. It may contain events of orders that do not exist.
    pub log: Vec<Entry>,
    /// The violations that the services' checks found.
    pub broken: Vec<Broken>,
    /// Events that a subscription has not applied.
    pub unapplied: Vec<Unapplied>,
    /// Events that have not been published.
    pub unpublished: Vec<Unpublished>,
    /// Orders without a key, and keys whose order is lost.
    pub keys: Vec<KeyRow>,
}

/// Reads a range in the caller's transaction: see [`glance`](super::glance).
///
/// # Errors
/// Returns database errors.
pub async fn read(
    connection: &mut Connection,
    scope: &Scope,
    consumed: &ConsumedEvents,
) -> Result<Picture, StoreError> {
    let Range { after, upto } = scope.range;
    let orders = orders::table
        .filter(orders::id.gt(after))
        .filter(orders::id.le(upto))
        .order(orders::id)
        .select((orders::id, orders::number, orders::status, orders::version, orders::cancel_requested))
        .load(connection)
        .await?;
    let log = diesel::sql_query(
        "SELECT order_id, version, event_id, event, occurred_at, causation_id FROM messaging.v_event_log
         WHERE order_id > $1 AND order_id <= $2 ORDER BY order_id, version",
    )
    .bind::<SqlUuid, _>(after)
    .bind::<SqlUuid, _>(upto)
    .load(connection)
    .await?;
    Ok(Picture {
        orders,
        log,
        broken: broken(connection, scope).await?,
        unapplied: unapplied(connection, scope, consumed).await?,
        unpublished: unpublished(connection, scope).await?,
        keys: troubles(connection, scope.range).await?,
    })
}

async fn unpublished(connection: &mut Connection, scope: &Scope) -> Result<Vec<Unpublished>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT order_id, event, created_at FROM messaging.outbox
         WHERE created_at < $1 AND order_id > $2 AND order_id <= $3 ORDER BY order_id, created_at",
    )
    .bind::<Timestamptz, _>(scope.before)
    .bind::<SqlUuid, _>(scope.range.after)
    .bind::<SqlUuid, _>(scope.range.upto)
    .load(connection)
    .await?)
}
