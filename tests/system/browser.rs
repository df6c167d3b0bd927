//! The pages in a real browser. Needs Chromium, its driver and axe-core, which scripts/browser.sh installs.

mod console;
mod harness;
mod lab;
mod mails;
mod names;
mod orders;
mod outages;
mod pictures;
mod shop;
mod tables;

use orderflow_tests::{Browser, Shop, Web, own::free_address};

/// The names of the test cards on the shop's page.
const WORKS: &str = "Visa that works";
const IS_DECLINED: &str = "Visa that is declined";

const MUG: &str = "Blue stoneware mug";
/// The simulated carrier refuses it.
const BATTERY: &str = "Bulk lithium battery pack";

/// Starts a front end whose `PUBLIC_URL` is the address that the browser uses: it accepts a customer's requests only
/// from its own pages.
async fn start_web(shop: &mut Shop, settings: &[(&str, &str)]) -> Web {
    start_web_at(shop, &free_address().to_string(), settings).await
}

async fn start_web_at(shop: &mut Shop, address: &str, settings: &[(&str, &str)]) -> Web {
    let root = format!("http://{address}");
    let mut all = vec![("LISTEN", address), ("PUBLIC_URL", root.as_str())];
    all.extend(settings);
    shop.start_web_with(&all).await
}

/// Fills in the customer and the address.
async fn fill_in_address(browser: &Browser) {
    browser.fill("Name", "Ada Lovelace").await;
    browser.fill("E-mail", "ada@example.org").await;
    browser.fill("Street and number", "12 St James's Square").await;
    browser.fill("Postal code", "SW1Y 4JH").await;
    browser.fill("Town", "London").await;
    browser.choose("Country", "United Kingdom").await;
}

/// Puts one item into the cart and fills in the form.
async fn fill_in(browser: &Browser, product: &str, card: &str) {
    browser.click("button", &format!("One more: {product}")).await;
    fill_in_address(browser).await;
    browser.click("radio", card).await;
}

/// Presses the button and waits for the order's page.
async fn place(browser: &Browser) {
    browser.click("button", "Place order").await;
    until_order(browser).await;
}

async fn until_order(browser: &Browser) {
    browser.until_url("an order's page", |url| url.contains("/track/")).await;
    browser.until_true("the order's steps are shown", "return document.querySelector('ol[aria-label]') !== null").await;
}

/// Buys one item on the current shop page.
async fn buy(browser: &Browser, product: &str, card: &str) {
    fill_in(browser, product, card).await;
    place(browser).await;
}

/// Returns each step's text for assistive technology, such as `Done: Paid`.
async fn steps(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('ol[aria-label] .step-name')].map(step => step.textContent)";
    let steps = browser.run(script).await;
    let step =
        |step: &serde_json::Value| step.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    steps.as_array().into_iter().flatten().map(step).collect()
}
