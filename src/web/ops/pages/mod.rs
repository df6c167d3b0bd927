//! The console: the pages at `/ops`. The HTML works without JavaScript; `assets/ops.js` only refreshes marked elements.
//!
//! `/admin` offers everything that a page shows or does, through the same functions. The templates are
//! `templates/ops_*.html`.

mod access;
mod actions;
mod answer;
mod dead_letters;
mod deeds;
mod dlq_actions;
mod login;
mod order;
mod orders;
mod overview;
mod picture;
mod products;
mod replays;
mod spark;
mod words;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use uuid::Uuid;

use self::answer::{Frame, problem_answer};
use super::{Console, session};
use crate::web::{endpoint::Endpoint, pages::assets, people::ForPeople, problem::Problem};

/// Every path of a page. `/admin/openapi.json` does not describe them: they are for browsers.
pub const PAGES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/ops", handler: |route| route.to(overview::handle) },
    Endpoint { method: "GET", path: "/ops/login", handler: |route| route.to(login::form) },
    Endpoint { method: "POST", path: "/ops/login", handler: |route| route.to(login::log_in) },
    Endpoint { method: "POST", path: "/ops/logout", handler: |route| route.to(login::log_out) },
    Endpoint { method: "GET", path: "/ops/orders", handler: |route| route.to(orders::handle) },
    Endpoint { method: "GET", path: "/ops/orders/{id}", handler: |route| route.to(order::handle) },
    Endpoint { method: "GET", path: "/ops/dead-letters", handler: |route| route.to(dead_letters::handle) },
    Endpoint { method: "POST", path: "/ops/dead-letters/replay", handler: |route| route.to(dlq_actions::replay) },
    Endpoint { method: "POST", path: "/ops/dead-letters/discard", handler: |route| route.to(dlq_actions::discard) },
    Endpoint { method: "GET", path: "/ops/replays/{replay}", handler: |route| route.to(replays::handle) },
    Endpoint { method: "GET", path: "/ops/products", handler: |route| route.to(products::handle) },
    Endpoint { method: "POST", path: "/ops/products/{sku}/stock", handler: |route| route.to(products::set_stock) },
    Endpoint { method: "GET", path: "/ops/audit", handler: |route| route.to(actions::handle) },
    Endpoint { method: "GET", path: "/assets/{version}/{name:.*}", handler: |route| route.to(assets::handle) },
];

/// Which requests get problems as pages here.
pub const FOR_PEOPLE: ForPeople = ForPeople { pages: PAGES, page: problem_page };

/// Returns the page of a problem for paths that do not render their own.
fn problem_page(request: &HttpRequest, problem: &Problem, id: Uuid) -> HttpResponse {
    let console = request.app_data::<Data<Console>>();
    let operator = console.and_then(|console| session::shown(request, console));
    problem_answer(problem, operator.map(|operator| Frame::of(&operator, "")), Some(id))
}
