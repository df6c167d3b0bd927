//! Which orders exist, as every service may know.

use std::collections::HashSet;

use diesel::{
    QueryableByName,
    sql_types::{Array, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{Connection, StoreError};

/// Which of these orders there are. Reads a view, as every service may.
///
/// # Errors
/// Those of the database.
pub async fn orders(connection: &mut Connection, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        order_id: Uuid,
    }
    let rows: Vec<Row> = diesel::sql_query("SELECT order_id FROM orders.v_payment WHERE order_id = ANY($1)")
        .bind::<Array<SqlUuid>, _>(orders)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(|row| row.order_id).collect())
}
