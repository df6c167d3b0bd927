//! The front end, `orderflow serve`: takes orders and shows what became of them.
//!
//! One file per endpoint; `ROUTES` is the list. An order is placed and cancelled by the library of orders.

mod app;
mod auth;
mod body;
#[cfg(test)]
mod body_fuzz;
mod cancel_order;
mod client;
mod cookie;
#[cfg(test)]
mod description;
mod get_order;
mod health;
mod housekeeping;
mod last_audit;
mod live;
mod open_files;
mod openapi;
mod ops;
mod outlook;
mod pages;
mod people;
mod place_order;
mod problem;
mod process;
mod products;
mod rate_limit;
mod request_id;
mod server;
mod timeline;

use actix_web::{
    Route, guard,
    web::{self, ServiceConfig},
};

use self::problem::{Code, Problem};

pub use self::{
    process::{RunError, run},
    server::{ServeError, bind, serve},
};

/// One path and what answers there.
struct Endpoint {
    method: &'static str,
    path: &'static str,
    handler: fn(Route) -> Route,
}

/// Every path that there is.
const ROUTES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/products", handler: |route| route.to(products::handle) },
    Endpoint { method: "POST", path: "/orders", handler: |route| route.to(place_order::handle) },
    Endpoint { method: "GET", path: "/orders/{id}", handler: |route| route.to(get_order::handle) },
    Endpoint { method: "GET", path: "/orders/{id}/timeline", handler: |route| route.to(timeline::handle) },
    Endpoint { method: "GET", path: "/orders/{id}/live", handler: |route| route.to(live::handle) },
    Endpoint { method: "POST", path: "/orders/{id}/cancel", handler: |route| route.to(cancel_order::handle) },
    Endpoint { method: "GET", path: "/healthz", handler: |route| route.to(health::alive) },
    Endpoint { method: "GET", path: "/readyz", handler: |route| route.to(health::ready) },
    Endpoint { method: "GET", path: "/openapi.json", handler: |route| route.to(openapi::handle) },
];

/// Registers [`ROUTES`] and the pages; everything else is a problem document too.
fn routes(config: &mut ServiceConfig) {
    for Endpoint { method, path, handler } in ROUTES.iter().chain(pages::PAGES) {
        let (route, allow) = match *method {
            "POST" => (web::post(), "POST"),
            // HTTP asks for HEAD wherever there is GET; actix leaves out the body.
            _ => (web::route().guard(guard::Any(guard::Get()).or(guard::Head())), "GET, HEAD"),
        };
        let refuse = move || async move {
            Err::<&str, _>(Problem::new(Code::MethodNotAllowed, format!("Use {allow}.")).allow(allow))
        };
        config.service(web::resource(*path).route(handler(route)).default_service(web::to(refuse)));
    }
    config.default_service(web::to(async || {
        Err::<&str, _>(Problem::new(Code::NotFound, "/openapi.json lists every path."))
    }));
}
