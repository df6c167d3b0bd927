//! A page of the console as an answer.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;
use orderflow_service::config::Role;
use uuid::Uuid;

use super::words;
use crate::web::{ops::auth::Operator, pages as shop, problem::Problem};

/// Who looks, for the header of every page.
pub struct Frame {
    /// Their name.
    pub name: String,
    /// Whether they may act.
    pub may_act: bool,
    /// Which part of the console this is.
    pub at: &'static str,
}

impl Frame {
    /// Returns the header of a page in this part of the console.
    pub fn of(operator: &Operator, at: &'static str) -> Self {
        Self { name: operator.name.clone(), may_act: operator.role >= Role::Operate, at }
    }

    /// What marks the part that is shown, in the navigation.
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
    /// The number under which our log has the cause.
    reference: Option<Uuid>,
}

/// Returns a problem as a page.
pub fn sorry(problem: &Problem, frame: Option<Frame>) -> HttpResponse {
    problem_answer(problem, frame, None)
}

/// Returns a problem as a page that names the request, where the cause is in our log.
pub fn problem_answer(problem: &Problem, frame: Option<Frame>, request: Option<Uuid>) -> HttpResponse {
    let (code, detail) = (problem.code(), problem.detail().to_owned());
    let status = code.status();
    let reference = request.filter(|_| status.is_server_error());
    let page = ProblemPage { frame, title: code.title(), detail, status: status.as_u16(), reference };
    let mut answer = html(status, &page);
    problem.put_headers(answer.headers_mut());
    answer
}

/// Leads to another page, by GET.
pub fn to(path: impl AsRef<str>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path.as_ref())).finish()
}

/// Returns a page. Its forms say where they come from: without a referrer browsers would say `Origin: null`, and over plain HTTP
/// to another host nothing else that could be trusted.
pub fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    let mut answer = shop::html(status, page);
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("same-origin"));
    answer
}

/// Returns a page with status 200.
pub fn page(page: &impl Template) -> HttpResponse {
    html(StatusCode::OK, page)
}

/// Returns a query string of these pairs, without those that are empty.
pub fn query_string(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}
