//! `GET /admin/products`, `PUT /admin/products/{sku}/stock`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Console, auth,
    list::{self, Page, answer},
};
use crate::{
    config::Role,
    ops::{Actor, stock},
    store::{ANSWER_WITHIN, Connection, stock as store},
    web::problem::{Code, Problem},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    available: i64,
}

/// Every product and how many pieces of it can be ordered.
///
/// # Errors
/// 401 and 403 as everywhere, 503 while the database is away.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&Page::whole(levels(&console).await?)))
}

/// Every product, in the order of the shop.
///
/// # Errors
/// 503 while the database is away.
pub async fn levels(console: &Console) -> Result<Vec<store::Level>, Problem> {
    Ok(console.database.run(ANSWER_WITHIN, async |connection: &mut Connection| store::list(connection).await).await?)
}

/// Makes that many pieces orderable from now on, whatever there were.
///
/// # Errors
/// 404 for a product that the catalogue does not have, 422 for a number that is none, 401 and 403 as everywhere, 503 while
/// the database is away.
pub async fn set_stock(
    request: HttpRequest,
    sku: Path<String>,
    payload: Payload,
    console: Data<Console>,
) -> Result<HttpResponse, Problem> {
    let operator = auth::operator(&request, &console, Role::Operate)?;
    let Wanted { available } = list::json(&request, payload).await?;
    let before = change(&console, operator.actor(&request), sku.clone(), available).await?;
    Ok(answer(&json!({ "sku": *sku, "before": before, "available": available })))
}

/// Sets a product's stock, and returns how many pieces there were.
///
/// # Errors
/// As of [`set_stock`].
pub async fn change(console: &Console, actor: Actor, sku: String, available: i64) -> Result<i64, Problem> {
    if !(0..=stock::MOST).contains(&available) {
        let detail = format!("available has to be from 0 to {}.", stock::MOST);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let unknown = || Problem::new(Code::ProductNotFound, "/admin/products lists what there is.");
    // The database takes none, so no product has one.
    if sku.contains('\0') {
        return Err(unknown());
    }
    let database = console.database.clone();
    let changing = async move { Ok(stock::change(&database, &actor, &sku, available).await?) };
    let before = console.finish(changing).await?;
    before.ok_or_else(unknown)
}
