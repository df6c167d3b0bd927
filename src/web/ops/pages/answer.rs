//! Answers with pages of the console.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;
use orderflow_service::config::Role;
use uuid::Uuid;

use super::words;
use crate::web::{ops::auth::Operator, pages as shop, problem::Problem};

/// The logged-in operator, for the header of every page.
pub struct Frame {
    /// The operator's name.
    pub name: String,
    /// Whether the operator may act.
    pub may_act: bool,
    /// The part of the console that the page belongs to.
    pub at: &'static str,
}

impl Frame {
    /// Returns the header of a page in this part of the console.
    pub fn of(operator: &Operator, at: &'static str) -> Self {
        Self { name: operator.name.clone(), may_act: operator.role >= Role::Operate, at }
    }

    /// Returns the value of `aria-current` for a link of the navigation.
    pub fn current(&self, at: &str) -> &'static str {
        if self.at == at { "page" } else { "false" }
    }
}

#[derive(Template)]
#[template(path = "ops_problem.html")]
struct ProblemPage {
    frame: Option<Frame>,
    title: &'static str,
    detail: String,
    status: u16,
    /// The request id under which our log has the cause.
    reference: Option<Uuid>,
}

/// Returns a problem as a page.
pub fn sorry(problem: &Problem, frame: Option<Frame>) -> HttpResponse {
    problem_answer(problem, frame, None)
}

/// Returns a problem as a page. A server error names the request, so that its cause can be found in our log.
pub fn problem_answer(problem: &Problem, frame: Option<Frame>, request: Option<Uuid>) -> HttpResponse {
    let (code, detail) = (problem.code(), problem.detail().to_owned());
    let status = code.status();
    let reference = request.filter(|_| status.is_server_error());
    let page = ProblemPage { frame, title: code.title(), detail, status: status.as_u16(), reference };
    let mut answer = html(status, &page);
    problem.put_headers(answer.headers_mut());
    answer
}

/// Redirects to another page, by GET.
pub fn to(path: impl AsRef<str>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path.as_ref())).finish()
}

/// Returns a page whose forms carry their origin. Without a referrer, browsers would send `Origin: null`, and over
/// plain HTTP to another host no other header that can be trusted.
pub fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    let mut answer = shop::html(status, page);
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("same-origin"));
    answer
}

/// Returns a page with status 200.
pub fn page(page: &impl Template) -> HttpResponse {
    html(StatusCode::OK, page)
}

/// Returns a query string of these pairs, without those whose value is empty.
pub fn query_string(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}
