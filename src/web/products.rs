//! `GET /products`

use actix_web::{HttpResponse, http::header, web::Data};
use orderflow_order::store::catalogue::Product;
use serde::Serialize;

use super::{
    app::App,
    problem::{Code, Problem},
};

#[derive(Serialize)]
struct Answer<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    name: &'a str,
    price: i64,
    currency: &'a str,
    in_stock: bool,
}

/// Returns the catalogue, at most about a second old while the database answers.
///
/// # Errors
/// 503 before the first database connection.
pub async fn handle(app: Data<App>) -> Result<HttpResponse, Problem> {
    let catalogue = app
        .placing
        .catalogue()
        .ok_or_else(|| Problem::new(Code::DatabaseUnavailable, "Try again soon.").retry_after(2))?;
    let items = catalogue.products().iter().map(item).collect();
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).json(Answer { items }))
}

fn item(product: &Product) -> Item<'_> {
    let Product { sku, name, price, currency, available } = product;
    Item { sku, name, price: *price, currency, in_stock: *available > 0 }
}
