//! `GET /admin/products`, `PUT /admin/products/{sku}/stock`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use orderflow_service::{
    config::Role,
    store::{ANSWER_WITHIN, Connection},
};
use orderflow_worker::services::inventory::stock::{self as store, Set};
use serde::Deserialize;
use serde_json::json;

use super::{
    Console, auth,
    list::{self, Page, answer},
};
use crate::{
    ops::{
        Principal,
        stock::{self, Change},
    },
    web::problem::{Code, Problem},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    available: i64,
    #[serde(default)]
    expected: Option<i64>,
}

/// Returns every product and how many pieces of it can be ordered.
///
/// # Errors
/// 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&Page::whole(levels(&console).await?)))
}

/// Returns every product, in the shop's order.
///
/// # Errors
/// 503 while the database is unavailable.
pub async fn levels(console: &Console) -> Result<Vec<store::Level>, Problem> {
    Ok(console.database.run(ANSWER_WITHIN, async |connection: &mut Connection| store::list(connection).await).await?)
}

/// Sets how many pieces of a product can be ordered; with `expected`, only if that many are available now.
///
/// # Errors
/// 404 for a product that is not in the catalogue, 409 if the number available differs from `expected`, 422 for an
/// invalid number, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn set_stock(
    request: HttpRequest,
    sku: Path<String>,
    payload: Payload,
    console: Data<Console>,
) -> Result<HttpResponse, Problem> {
    let operator = auth::operator(&request, &console, Role::Operate)?;
    let Wanted { available, expected } = list::json(&request, payload).await?;
    let wanted = Change { available, expected };
    match change(&console, operator.actor(&request), sku.clone(), wanted).await? {
        Changed::Done { before } => Ok(answer(&json!({ "sku": *sku, "before": before, "available": available }))),
        Changed::Past { available } => {
            let detail = format!(
                "{available} are available now. Nothing was changed. Check that number and send it as expected."
            );
            Err(Problem::new(Code::StockChanged, detail))
        }
    }
}

/// The outcome of a change.
pub enum Changed {
    /// The stock was changed.
    Done {
        /// Pieces that were available before.
        before: i64,
    },
    /// The stock was not changed, since `expected` is outdated.
    Past {
        /// Pieces that are available now.
        available: i64,
    },
}

/// Sets a product's stock.
///
/// # Errors
/// The same as for [`set_stock`], except for the 409.
pub async fn change(console: &Console, actor: Principal, sku: String, wanted: Change) -> Result<Changed, Problem> {
    for (name, pieces) in [("available", Some(wanted.available)), ("expected", wanted.expected)] {
        if pieces.is_some_and(|pieces| !(0..=stock::MOST).contains(&pieces)) {
            let detail = format!("{name} must be from 0 to {}.", stock::MOST);
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    }
    let unknown = || Problem::new(Code::ProductNotFound, "/admin/products lists all products.");
    // PostgreSQL does not accept a zero byte, so no product has one.
    if sku.contains('\0') {
        return Err(unknown());
    }
    let database = console.database.clone();
    let changing = async move { Ok(stock::change(&database, &actor, &sku, wanted).await?) };
    match console.finish(changing).await? {
        Set::Done { before } => Ok(Changed::Done { before }),
        Set::Past { available } => Ok(Changed::Past { available }),
        Set::Unknown => Err(unknown()),
    }
}
