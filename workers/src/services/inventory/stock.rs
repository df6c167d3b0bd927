//! Stock for operators: what is available, and setting it. Reservations are the inventory service's.

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_order::store::schema::catalogue::products;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;

use super::schema::inventory::{movements, stock};

/// A product and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable)]
pub struct Level {
    /// The product.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces that can be ordered.
    pub available: i64,
}

/// Every product, in the order of the shop.
///
/// # Errors
/// Those of the database.
pub async fn list(connection: &mut Connection) -> Result<Vec<Level>, StoreError> {
    // Two services' tables that diesel does not know to be joinable: read one after the other.
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

/// What became of a wish to set a product's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// It is set.
    Done {
        /// Pieces that were available until then.
        before: i64,
    },
    /// Nothing is changed: the number of pieces is another than the wish is based on.
    Past {
        /// Pieces that are available.
        available: i64,
    },
    /// The catalogue has no such product.
    Unknown,
}

/// Makes `available` pieces orderable from now on, and writes the difference down as an adjustment. With `expected`, only if
/// exactly so many are available now: orders may have taken some since somebody looked.
///
/// # Errors
/// Those of the database; nothing is changed then.
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

/// The last movement before which none is to come any more, 0 where there is none: ids are given before a transaction
/// commits, and none of ours takes minutes.
///
/// # Errors
/// Those of the database.
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

/// What some movements add up to.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Moved {
    /// The product.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// Pieces.
    #[diesel(sql_type = BigInt)]
    pub pieces: i64,
}

/// The sums of the movements above `after` and not above `upto`. Movements are never changed, so that sums of several
/// such ranges may be taken one after the other and added.
///
/// # Errors
/// Those of the database.
pub async fn moved(connection: &mut Connection, after: i64, upto: i64) -> Result<Vec<Moved>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT sku, sum(quantity)::bigint AS pieces FROM inventory.movements WHERE id > $1 AND id <= $2 GROUP BY sku",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(upto)
    .load(connection)
    .await?)
}

/// What is orderable of a product, beside what its latest movements add up to.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Balance {
    /// The product.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// Pieces; none where no stock of it was ever kept.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub available: Option<i64>,
    /// Pieces that moved since.
    #[diesel(sql_type = BigInt)]
    pub moved: i64,
}

/// Every product with its stock and the sum of its movements above `after`, both at one moment.
///
/// # Errors
/// Those of the database.
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
