//! The service's rows, and the data that it reads from orders.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

/// Newly booked points.
#[derive(Debug, QueryableByName)]
pub struct Booked {
    /// The order's id.
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    /// One point per 100 minor units.
    #[diesel(sql_type = BigInt)]
    pub points: i64,
}

/// Books the points of these orders and returns the new bookings. Leaves out orders whose points were booked before.
///
/// # Errors
/// Returns database errors.
pub async fn book(connection: &mut Connection, orders: &[Uuid]) -> Result<Vec<Booked>, StoreError> {
    let booked = diesel::sql_query(
        "INSERT INTO loyalty.bookings (order_id, points)
         SELECT order_id, total / 100 FROM orders.v_payment WHERE order_id = ANY($1)
         ON CONFLICT DO NOTHING RETURNING order_id, points",
    );
    Ok(booked.bind::<Array<SqlUuid>, _>(orders).load(connection).await?)
}
