//! The pages that customers see: the shop with its checkout at `/`, an order at `/track/{id}`. HTML that works without
//! JavaScript; what the scripts in `assets/` add is convenience.
//!
//! Templates are in `templates/`, what they have in common with the console in `base.html` and `assets/style.css`.

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
