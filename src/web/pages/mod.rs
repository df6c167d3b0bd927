//! The pages that customers see: the shop with its checkout at `/`, an order at `/track/{id}`. HTML that works without
//! JavaScript; what the scripts in `assets/` add is convenience.
//!
//! Templates are in `templates/`, what they have in common with the console in `base.html` and `assets/style.css`.

pub mod assets;
mod cart;
mod checkout;
mod entered;
mod estimate;
mod problem;
mod shelves;
mod shop;
mod steps;
mod track;
mod words;

use std::sync::OnceLock;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;
use orderflow_order::token::OrderLinks;
use orderflow_service::telemetry;

use super::{endpoint::Endpoint, people::ForPeople};

/// What the shop is called on its pages.
pub const SHOP: &str = "Slow Pour";

/// Every path of a page. They are for people, so `/openapi.json` does not describe them.
pub const PAGES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/", handler: |route| route.to(shop::handle) },
    Endpoint { method: "POST", path: "/checkout", handler: |route| route.to(checkout::handle) },
    Endpoint { method: "GET", path: "/track/{id}", handler: |route| route.to(track::handle) },
    Endpoint { method: "GET", path: "/track/{id}/progress", handler: |route| route.to(track::progress) },
    Endpoint { method: "POST", path: "/track/{id}/cancel", handler: |route| route.to(track::cancel) },
    Endpoint { method: "GET", path: "/assets/{version}/{name:.*}", handler: |route| route.to(assets::handle) },
];

/// Who gets problems as pages here.
pub const FOR_PEOPLE: ForPeople = ForPeople { pages: PAGES, page: problem::page };

/// Everything from ourselves and nothing inline; nobody may show a page of ours in a frame of theirs. `'self'` of
/// connect-src is also the WebSocket of the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static HOME: OnceLock<String> = OnceLock::new();

/// Says once, before there are pages, which origin is the shop's own.
pub fn live_at(links: &OrderLinks) {
    // Settings are read once, so a second time it is the same.
    drop(HOME.set(links.origin()));
}

/// The shop's own origin, which every page holds against where it was opened.
pub fn home() -> &'static str {
    HOME.get().map_or("", String::as_str)
}

/// A page as an answer. It is in no cache: it shows an order, or holds the key of one that is about to be placed.
pub fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(text) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
            .insert_header((header::X_FRAME_OPTIONS, "DENY"))
            .insert_header(("cross-origin-opener-policy", "same-origin"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(text),
        Err(error) => {
            tracing::error!(error = telemetry::chain(&error), "a page could not be written");
            HttpResponse::InternalServerError()
                .content_type("text/plain; charset=utf-8")
                .body("Something went wrong.\n")
        }
    }
}
