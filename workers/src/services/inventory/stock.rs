//! Stock for operators: reads and sets available pieces. Reservations are made by the service's handlers.

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_order::store::schema::catalogue::products;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;

use super::schema::inventory::{movements, stock};

/// A product and its available stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable)]
pub struct Level {
    /// The product's SKU.
    pub sku: String,
    /// The product's name.
    pub name: String,
    /// Pieces that can be ordered.
    pub available: i64,
}

/// Returns every product, in the shop's order.
///
/// # Errors
/// Returns database errors.
pub async fn list(connection: &mut Connection) -> Result<Vec<Level>, StoreError> {
    // Diesel cannot join the tables of two services, so they are read one after the other.
    let products: Vec<(String, String)> =
        products::table.order(products::position).select((products::sku, products::name)).load(connection).await?;
    let levels: std::collections::HashMap<String, i64> = stock::table
        .select((stock::sku, stock::available))
        .load::<(String, i64)>(connection)
        .await?
        .into_iter()
        .collect();
    Ok(products
        .into_iter()
        .map(|(sku, name)| Level { available: levels.get(&sku).copied().unwrap_or(0), sku, name })
        .collect())
}

/// The outcome of a request to set a product's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// The stock is set.
    Done {
        /// The pieces that were available before.
        before: i64,
    },
    /// Nothing is changed: the available pieces differ from those expected.
    Past {
        /// The pieces that are available.
        available: i64,
    },
    /// The catalogue has no such product.
    Unknown,
}

/// Sets the available pieces of a product to `available`, and records the difference as an adjustment. With `expected`,
/// only if exactly that many are available now: orders may have taken some since the operator looked.
///
/// # Errors
/// Returns database errors; nothing is changed then.
pub async fn set(
    connection: &mut Connection,
    sku: &str,
    available: i64,
    expected: Option<i64>,
) -> Result<Set, StoreError> {
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            let known = products::table.find(sku).select(products::sku).first::<String>(connection).await.optional()?;
            if known.is_none() {
                return Ok(Set::Unknown);
            }
            diesel::insert_into(stock::table)
                .values((stock::sku.eq(sku), stock::available.eq(0_i64)))
                .on_conflict_do_nothing()
                .execute(connection)
                .await?;
            let before: i64 = stock::table.find(sku).select(stock::available).for_update().first(connection).await?;
            if expected.is_some_and(|expected| expected != before) {
                return Ok(Set::Past { available: before });
            }
            if before != available {
                diesel::insert_into(movements::table)
                    .values((
                        movements::sku.eq(sku),
                        movements::kind.eq("adjusted"),
                        movements::quantity.eq(available - before),
                    ))
                    .execute(connection)
                    .await?;
                diesel::update(stock::table.find(sku)).set(stock::available.eq(available)).execute(connection).await?;
            }
            Ok(Set::Done { before })
        })
        .await
}

/// Returns the id of the last movement up to which no more can appear, or 0 if none is that old. Ids are assigned
/// before their transaction commits, but no transaction of ours takes five minutes.
///
/// # Errors
/// Returns database errors.
pub async fn last_settled_movement(connection: &mut Connection) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let row: Option<Row> = diesel::sql_query(
        "SELECT id FROM inventory.movements WHERE occurred_at < now() - interval '5 minutes' ORDER BY id DESC LIMIT 1",
    )
    .get_result(connection)
    .await
    .optional()?;
    Ok(row.map_or(0, |row| row.id))
}

/// The sum of some movements of a product.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Moved {
    /// The product's SKU.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// The pieces.
    #[diesel(sql_type = BigInt)]
    pub pieces: i64,
}

/// Returns the sums of the movements with ids above `after` and up to `upto`. Movements never change, so the sums of
/// several ranges may be read one after another and added.
///
/// # Errors
/// Returns database errors.
pub async fn moved(connection: &mut Connection, after: i64, upto: i64) -> Result<Vec<Moved>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT sku, sum(quantity)::bigint AS pieces FROM inventory.movements WHERE id > $1 AND id <= $2 GROUP BY sku",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(upto)
    .load(connection)
    .await?)
}

/// The available pieces of a product, and the sum of its latest movements.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Balance {
    /// The product's SKU.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// The available pieces; `None` if the product never had stock.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub available: Option<i64>,
    /// The sum of the latest movements.
    #[diesel(sql_type = BigInt)]
    pub moved: i64,
}

/// Returns every product with its stock and the sum of its movements with ids above `after`, in one snapshot.
///
/// # Errors
/// Returns database errors.
pub async fn balances(connection: &mut Connection, after: i64) -> Result<Vec<Balance>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT sku, available, coalesce(pieces, 0) AS moved FROM inventory.stock
         FULL JOIN (SELECT sku, sum(quantity)::bigint AS pieces FROM inventory.movements WHERE id > $1 GROUP BY sku) AS late
             USING (sku)
         ORDER BY sku",
    )
    .bind::<BigInt, _>(after)
    .load(connection)
    .await?)
}
