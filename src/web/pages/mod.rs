//! The pages for customers: the shop with its checkout at `/`, an order at `/track/{id}`. The HTML works without
//! JavaScript; the scripts in `assets/` only add convenience.
//!
//! The templates are in `templates/`. The shop and the console share `base.html` and `assets/style.css`.

mod answer;
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

use orderflow_order::token::OrderLinks;

pub use self::answer::html;
use super::{endpoint::Endpoint, people::ForPeople};

/// The shop's name on its pages.
pub const SHOP: &str = "Slow Pour";

/// Every path of a page. `/openapi.json` does not describe them: they are for browsers.
pub const PAGES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/", handler: |route| route.to(shop::handle) },
    Endpoint { method: "POST", path: "/checkout", handler: |route| route.to(checkout::handle) },
    Endpoint { method: "GET", path: "/track/{id}", handler: |route| route.to(track::handle) },
    Endpoint { method: "GET", path: "/track/{id}/progress", handler: |route| route.to(track::progress) },
    Endpoint { method: "POST", path: "/track/{id}/cancel", handler: |route| route.to(track::cancel) },
    Endpoint { method: "GET", path: "/assets/{version}/{name:.*}", handler: |route| route.to(assets::handle) },
];

/// Which requests get problems as pages here.
pub const FOR_PEOPLE: ForPeople = ForPeople { pages: PAGES, page: problem::page };

static HOME: OnceLock<String> = OnceLock::new();

/// Sets the shop's own origin. Call this once, before any page is rendered.
pub fn live_at(links: &OrderLinks) {
    // Settings are read once, so a second call would set the same value.
    drop(HOME.set(links.origin()));
}

/// Returns the shop's own origin. Every page compares it with the address at which it was opened.
pub fn home() -> &'static str {
    HOME.get().map_or("", String::as_str)
}
