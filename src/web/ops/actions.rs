//! `GET /admin/audit`: the log of operators' actions.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use orderflow_service::{
    config::Role,
    store::{ANSWER_WITHIN, Connection},
};

use super::{
    Console, auth,
    list::{Page, Query, answer},
};
use crate::{
    store::actions::{self, Action},
    web::problem::Problem,
};

/// Returns the actions of operators and commands, newest first.
///
/// # Errors
/// 400 for invalid parameters, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&page(&console, &Query::of(&request)).await?))
}

/// Returns the page that the parameters `cursor` and `limit` select.
///
/// # Errors
/// The same as for [`list`].
pub async fn page(console: &Console, query: &Query) -> Result<Page<Action>, Problem> {
    let (before, limit) = (query.cursor()?, query.limit()?);
    let reading = async |connection: &mut Connection| actions::page(connection, before, i64::from(limit) + 1).await;
    let found = console.database.run(ANSWER_WITHIN, reading).await?;
    Ok(Page::of(found, limit, |action| action.action_id.to_string()))
}
