//! A problem as a page of the shop's, for whatever has no page of its own.

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
    /// Where it is worth trying again, in seconds.
    again_in: Option<u64>,
    /// Our fault: the number under which we find it in our log.
    reference: Option<Uuid>,
}

/// The page.
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
