//! The products, with their prices and stock levels.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, Prepare as _, StoreError};

/// A product of the shop.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Product {
    /// The id that orders use.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// The name shown to customers.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The price of one piece, in minor units.
    #[diesel(sql_type = BigInt)]
    pub price: i64,
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// Pieces that can be ordered now; 0 if the inventory service does not know the product.
    #[diesel(sql_type = BigInt)]
    pub available: i64,
}

/// Returns every product, in the order of the shop's page. Stock levels come from the inventory service's view.
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
