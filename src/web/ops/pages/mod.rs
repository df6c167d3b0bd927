//! The console: the pages at `/ops`. HTML that works without JavaScript; `assets/ops.js` only refreshes what is marked so.
//!
//! Everything that a page shows or does, `/admin` does too, by the same functions. Templates are `templates/ops_*.html`.

mod actions;
mod dead_letters;
mod deeds;
mod letters_out;
mod login;
mod order;
mod orders;
mod overview;
mod picture;
mod products;
mod replays;
mod spark;
mod words;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use askama::Template;
use orderflow_service::config::Role;
use uuid::Uuid;

use super::{
    Console,
    auth::{self, Operator},
    list::Query,
    session,
};
use crate::web::{
    body,
    endpoint::Endpoint,
    pages::{self as shop, assets},
    people::ForPeople,
    problem::Problem,
    request_id,
};

/// Every path of a page. They are for people, so `/admin/openapi.json` does not describe them.
pub const PAGES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/ops", handler: |route| route.to(overview::handle) },
    Endpoint { method: "GET", path: "/ops/login", handler: |route| route.to(login::form) },
    Endpoint { method: "POST", path: "/ops/login", handler: |route| route.to(login::log_in) },
    Endpoint { method: "POST", path: "/ops/logout", handler: |route| route.to(login::log_out) },
    Endpoint { method: "GET", path: "/ops/orders", handler: |route| route.to(orders::handle) },
    Endpoint { method: "GET", path: "/ops/orders/{id}", handler: |route| route.to(order::handle) },
    Endpoint { method: "GET", path: "/ops/dead-letters", handler: |route| route.to(dead_letters::handle) },
    Endpoint { method: "POST", path: "/ops/dead-letters/replay", handler: |route| route.to(letters_out::replay) },
    Endpoint { method: "POST", path: "/ops/dead-letters/discard", handler: |route| route.to(letters_out::discard) },
    Endpoint { method: "GET", path: "/ops/replays/{replay}", handler: |route| route.to(replays::handle) },
    Endpoint { method: "GET", path: "/ops/products", handler: |route| route.to(products::handle) },
    Endpoint { method: "POST", path: "/ops/products/{sku}/stock", handler: |route| route.to(products::set_stock) },
    Endpoint { method: "GET", path: "/ops/audit", handler: |route| route.to(actions::handle) },
    Endpoint { method: "GET", path: "/assets/{version}/{name:.*}", handler: |route| route.to(assets::handle) },
];

/// Who gets problems as pages here.
pub const FOR_PEOPLE: ForPeople = ForPeople { pages: PAGES, page: problem_page };

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
    fn of(operator: &Operator, at: &'static str) -> Self {
        Self { name: operator.name.clone(), may_act: operator.role >= Role::Operate, at }
    }

    /// What marks the part that is shown, in the navigation.
    fn current(&self, at: &str) -> &'static str {
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

/// A problem as a page.
fn sorry(problem: &Problem, frame: Option<Frame>) -> HttpResponse {
    problem_answer(problem, frame, None)
}

fn problem_answer(problem: &Problem, frame: Option<Frame>, request: Option<Uuid>) -> HttpResponse {
    let (code, detail) = (problem.code(), problem.detail().to_owned());
    let status = code.status();
    let reference = request.filter(|_| status.is_server_error());
    let page = ProblemPage { frame, title: code.title(), detail, status: status.as_u16(), reference };
    let mut answer = html(status, &page);
    problem.put_headers(answer.headers_mut());
    answer
}

/// A problem of a path that has no page of its own for it.
fn problem_page(request: &HttpRequest, problem: &Problem, id: Uuid) -> HttpResponse {
    let console = request.app_data::<Data<Console>>();
    let operator = console.and_then(|console| session::shown(request, console));
    problem_answer(problem, operator.map(|operator| Frame::of(&operator, "")), Some(id))
}

/// What a page shows to whom may look; to others the login form, or why there is none.
async fn shown(
    request: &HttpRequest,
    console: &Console,
    at: &'static str,
    show: impl AsyncFnOnce(&Operator, Frame) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    if let Err(off) = auth::are_on(console) {
        return sorry(&off, None);
    }
    let Some(operator) = session::operator(request, console).await else { return login::first(request) };
    let shown = show(&operator, Frame::of(&operator, at)).await;
    shown.unwrap_or_else(|problem| {
        problem_answer(&problem, Some(Frame::of(&operator, at)), Some(request_id::of(request)))
    })
}

/// What a form does for whom may act, if it came from our own pages.
async fn done(
    request: &HttpRequest,
    payload: Payload,
    console: &Console,
    at: &'static str,
    act: impl AsyncFnOnce(&Operator, Query, Frame) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    shown(request, console, at, async |operator, frame| {
        session::is_own_form(request)?;
        let operator = operator.clone().needs(Role::Operate)?;
        let fields = Query::from_pairs(body::form(request, payload).await?);
        act(&operator, fields, frame).await
    })
    .await
}

/// To another page, by GET.
fn to(path: impl AsRef<str>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path.as_ref())).finish()
}

/// A page. Its forms say where they come from: without a referrer browsers would say `Origin: null`, and over plain HTTP
/// to another host nothing else that could be trusted.
fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    let mut answer = shop::html(status, page);
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("same-origin"));
    answer
}

fn page(page: &impl Template) -> HttpResponse {
    html(StatusCode::OK, page)
}

/// A query string of these, without those that are empty.
fn query_string(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}
