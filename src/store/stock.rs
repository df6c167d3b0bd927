//! Stock for operators: what is available, and setting it. Reservations are the inventory service's.

use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use serde::Serialize;

use super::{
    Connection, StoreError,
    schema::{
        catalogue::products,
        inventory::{movements, stock},
    },
};

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

/// Makes `available` pieces orderable from now on, whatever there were, and writes the difference down as an
/// adjustment. Returns how many there were, or `None` for a product that the catalogue does not have.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn set(connection: &mut Connection, sku: &str, available: i64) -> Result<Option<i64>, StoreError> {
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            let known = products::table.find(sku).select(products::sku).first::<String>(connection).await.optional()?;
            if known.is_none() {
                return Ok(None);
            }
            diesel::insert_into(stock::table)
                .values((stock::sku.eq(sku), stock::available.eq(0_i64)))
                .on_conflict_do_nothing()
                .execute(connection)
                .await?;
            let before: i64 = stock::table.find(sku).select(stock::available).for_update().first(connection).await?;
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
            Ok(Some(before))
        })
        .await
}
