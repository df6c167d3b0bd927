//! `GET /admin/orders`, `GET /admin/orders/{id}`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use orderflow_service::{
    config::Role,
    store::{ANSWER_WITHIN, Connection, StoreError},
};

use super::{
    Console, auth,
    list::{Page, Query, answer},
};
use crate::{
    ops::why::{self, Answer, Report},
    store::{
        search::{self, Listed, Search},
        story::Wanted,
    },
    web::problem::{Code, Problem},
};

/// How many orders one search by status alone reads: a fraction of a second's work.
const SPAN: u32 = 200_000;

/// Returns orders, newest first.
///
/// # Errors
/// 400 for invalid parameters, 401 and 403 as everywhere, 503 while the database is unavailable or too busy to find
/// them in time.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&found(&console, &Query::of(&request)).await?))
}

/// Returns the orders that the parameters `q`, `status`, `cursor` and `limit` select.
///
/// # Errors
/// The same as for [`list`].
pub async fn found(console: &Console, query: &Query) -> Result<Page<Listed>, Problem> {
    let search = Search {
        wanted: query.text("q").map(wanted).transpose()?,
        status: status(query)?,
        before: query.cursor()?,
        limit: query.limit()?,
        span: SPAN,
    };
    let searching = async |connection: &mut Connection| search::orders(connection, &search).await;
    let found = console.database.run(ANSWER_WITHIN, searching).await.map_err(too_slow)?;
    Ok(Page { items: found.orders, next_cursor: found.next.map(|next| next.to_string()) })
}

fn wanted(text: &str) -> Result<Wanted, Problem> {
    why::wanted(text).ok_or_else(|| {
        Problem::new(Code::InvalidParameter, "q must be an order's id or number, an event's id, or an e-mail address.")
    })
}

/// Returns the status to search for. It need not be known: a newer version may have written it.
fn status(query: &Query) -> Result<Option<String>, Problem> {
    let is_one = |text: &str| text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match query.text("status") {
        Some(text) if !is_one(text) => {
            Err(Problem::new(Code::InvalidParameter, "status must be a status, such as payment_failed."))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn too_slow(error: StoreError) -> Problem {
    if error.is_statement_timeout() {
        let detail = "The search took more than 3 s: the database is busy, or an address has very many orders. Try \
                      again, or search for a single order.";
        return Problem::new(Code::SearchTooSlow, detail);
    }
    error.into()
}

/// Returns the full report on one order, as `orderflow why` does.
///
/// # Errors
/// 404 for an unknown order, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn one(request: HttpRequest, id: Path<String>, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&story(&console, &id).await?))
}

/// Returns the report on the order with this id or number.
///
/// # Errors
/// The same as for [`one`].
pub async fn story(console: &Console, id: &str) -> Result<Box<Report>, Problem> {
    let unknown = || {
        Problem::new(Code::OrderNotFound, "Give the order's id or number; /admin/orders finds it by e-mail address.")
    };
    let wanted = why::wanted(id).filter(|wanted| !matches!(wanted, Wanted::Email(_))).ok_or_else(unknown)?;
    let (database, check) = (console.database.clone(), console.queues().map(|queues| queues.check().clone()));
    let looking = async move { Ok(why::inspect(&database, check.as_ref(), &wanted).await?) };
    match console.finish(looking).await? {
        Answer::Story(report) => Ok(report),
        Answer::Several { .. } | Answer::Nothing => Err(unknown()),
    }
}
