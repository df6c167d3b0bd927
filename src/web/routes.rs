//! Every path of the front end.

use actix_web::{
    guard,
    web::{self, ServiceConfig},
};

use super::{
    cancel_order,
    endpoint::Endpoint,
    get_order, health, openapi, pages, place_order,
    problem::{Code, Problem},
    products, timeline, watch_order,
};

/// Every path except those of pages.
pub const ROUTES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/products", handler: |route| route.to(products::handle) },
    Endpoint { method: "POST", path: "/orders", handler: |route| route.to(place_order::handle) },
    Endpoint { method: "GET", path: "/orders/{id}", handler: |route| route.to(get_order::handle) },
    Endpoint { method: "GET", path: "/orders/{id}/timeline", handler: |route| route.to(timeline::handle) },
    Endpoint { method: "GET", path: "/orders/{id}/live", handler: |route| route.to(watch_order::handle) },
    Endpoint { method: "POST", path: "/orders/{id}/cancel", handler: |route| route.to(cancel_order::handle) },
    Endpoint { method: "GET", path: "/healthz", handler: |route| route.to(health::alive) },
    Endpoint { method: "GET", path: "/readyz", handler: |route| route.to(health::ready) },
    Endpoint { method: "GET", path: "/openapi.json", handler: |route| route.to(openapi::handle) },
];

/// Registers [`ROUTES`] and the pages. Any other path gets a problem document too.
pub fn routes(config: &mut ServiceConfig) {
    for Endpoint { method, path, handler } in ROUTES.iter().chain(pages::PAGES) {
        let (route, allow) = match *method {
            "POST" => (web::post(), "POST"),
            // HTTP requires HEAD wherever there is GET; actix leaves out the body.
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
