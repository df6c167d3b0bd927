//! Problems as pages of the shop, for paths that do not render their own.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use uuid::Uuid;

use super::{answer::html, track::NotFoundPage, words};
use crate::web::{
    app::App,
    problem::{Code, Problem},
};

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    title: &'static str,
    text: String,
    /// After how many seconds a retry is worthwhile, if it is.
    again_in: Option<u64>,
    /// For a server error, the request id under which our log has the cause.
    reference: Option<Uuid>,
}

/// Returns the page of a problem.
pub fn page(request: &HttpRequest, problem: &Problem, id: Uuid) -> HttpResponse {
    if problem.code() == Code::OrderNotFound {
        return html(StatusCode::NOT_FOUND, &NotFoundPage);
    }
    let shop = request.app_data::<Data<App>>().map(|app| app.links.absolute("/")).unwrap_or_default();
    let (title, text) = words::problem(problem, &shop);
    let status = problem.code().status();
    let reference = status.is_server_error().then_some(id);
    html(status, &ProblemPage { title, text, again_in: problem.retry_seconds(), reference })
}
