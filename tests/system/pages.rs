//! The customers' pages as a browser without JavaScript sees them. A real browser tests what the scripts add.

mod checkout;
mod large;
mod opening;
mod prices;
mod progress;
pub mod statuses;

use orderflow_tests::{Page, Visitor};

/// The default of `PUBLIC_URL`, which the tests' front ends do not set.
pub const PUBLIC_URL: &str = "http://127.0.0.1:8080";

/// Returns a valid form for one blue mug at 14.99 EUR, the price shown, with the page's key.
pub fn form<'a>(key: &'a str, method: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("key", key),
        ("total", "1499"),
        ("name", "Ada Lovelace"),
        ("email", "ada@example.org"),
        ("line1", "12 St James's Square"),
        ("line2", ""),
        ("postal_code", "SW1Y 4JH"),
        ("city", "London"),
        ("country", "GB"),
        ("method", method),
        ("quantity-MUG-BLUE", "1"),
        ("quantity-MUG-SAND", "0"),
    ]
}

/// Buys one blue mug and returns the path of the order's page.
pub async fn buy(visitor: &mut Visitor, method: &str) -> String {
    let key = visitor.get("/").await.field("key");
    let placed = visitor.post("/checkout", &form(&key, method)).await;
    leads_to_an_order(&placed)
}

/// Returns the path to which a placed order redirects.
#[track_caller]
pub fn leads_to_an_order(placed: &Page) -> String {
    assert_eq!(placed.status, 303, "{placed:?}");
    let location = placed.header("location").to_owned();
    assert!(location.starts_with("/track/") && !location.contains('?'), "{location}");
    location
}
