//! `GET /orders/{id}/timeline?after=N`

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use orderflow_service::store::{ANSWER_WITHIN, Connection};
use serde::Serialize;
use uuid::Uuid;

use super::{
    app::App,
    auth,
    entry::{Entry, entries},
    get_order,
    problem::{Code, Problem},
};
use crate::store::progress;

#[derive(Serialize)]
struct Answer {
    order_id: Uuid,
    version: i32,
    entries: Vec<Entry>,
}

/// Returns the order's entries after version N, oldest first, and never ahead of its status.
///
/// # Errors
/// 404 without the order's token, 400 if `after` is not a version, 503 while the database is unavailable.
pub async fn handle(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let after = after(request.query_string())?.unwrap_or(0);
    let reading = async |connection: &mut Connection| progress::beyond(connection, &[(id, 0)]).await;
    let found = app.database.run(ANSWER_WITHIN, reading).await?;
    let order = found.into_iter().next().ok_or_else(Problem::order_not_found)?;
    let mut entries = entries(&order.steps);
    entries.retain(|entry| entry.version > after);
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, get_order::CACHE_CONTROL)).json(Answer {
        order_id: id,
        version: order.version,
        entries,
    }))
}

/// Returns the version up to which the client knows the history, or `None` without the parameter `after`.
///
/// # Errors
/// 400 if the value is not a version.
pub fn after(query: &str) -> Result<Option<i32>, Problem> {
    let given = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    let Some((_, text)) = given else { return Ok(None) };
    text.parse().ok().filter(|after| *after >= 0).map(Some).ok_or_else(|| {
        Problem::new(Code::InvalidParameter, "after must be a version: a whole number from 0 to 2147483647.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_is_a_version() {
        assert_eq!(after("").ok(), Some(None));
        assert_eq!(after("x=1&after=7").ok(), Some(Some(7)));
        for wrong in ["after=", "after=-1", "after=x", "after=1.5", "after=99999999999"] {
            assert_eq!(after(wrong).map_err(|problem| problem.code()), Err(Code::InvalidParameter), "{wrong}");
        }
    }
}
