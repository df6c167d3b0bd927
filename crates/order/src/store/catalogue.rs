//! What can be bought, for how much, and how much of it there is.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};

/// A product of the shop.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Product {
    /// What orders name it by.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// What people call it.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The price of one piece, in minor units.
    #[diesel(sql_type = BigInt)]
    pub price: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// Pieces that can be ordered now; 0 where the inventory does not know the product.
    #[diesel(sql_type = BigInt)]
    pub available: i64,
}

/// Every product, in the order of the shop's page. Stock is read through the inventory's view.
///
/// # Errors
/// Returns database errors.
pub async fn products(connection: &mut Connection) -> Result<Vec<Product>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT product.sku, product.name, product.price, product.currency,
                COALESCE(stock.available, 0) AS available
         FROM catalogue.products AS product LEFT JOIN inventory.v_available AS stock USING (sku)
         ORDER BY product.position, product.sku",
    )
    .prepared()
    .load(connection)
    .await?)
}
