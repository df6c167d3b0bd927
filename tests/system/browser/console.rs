//! The console as an operator uses it: in a browser, with a dead letter to replay.

use orderflow_tests::{Browser, DESKTOP, Order, Shop};

use super::pictures::show;
use crate::{
    admin::{ADA, start_web_for_operators},
    dead_letters::{repair_payments, with_dead_orders},
};

/// Presses the button that replays the first group of dead letters; the button's name contains their reason.
const SEND_GROUP: &str = "document.querySelector('.ops-group form[action$=replay] button').click()";
const THROW_GROUP: &str = "document.querySelector('.ops-group form[action$=discard] button').click()";

async fn log_in(browser: &Browser) {
    browser.fill("Your operator token", "the token of Eve").await;
    browser.click("button", "Log in").await;
    browser.until_text("No operator has this token.").await;
    show(browser, "console-login").await;
    // The browser notes that the answer was 401.
    browser.errors().await;
    browser.fill("Your operator token", ADA).await;
    browser.click("button", "Log in").await;
}

/// Finds the order by its customer's e-mail address and opens its page.
async fn find(browser: &Browser, order: &Order) {
    browser.click("link", "Orders").await;
    browser.until_text("the customer’s e-mail address").await;
    browser.fill("Order", "ada@example.org").await;
    browser.click("button", "Search").await;
    browser.until_url("the search", |url| url.contains("q=ada")).await;
    let number = format!("return document.querySelector('a[href$=\"{}\"]')?.textContent ?? ''", order.id);
    browser.until_true("the order is found", &number).await;
    let number = browser.run(&number).await;
    show(browser, "console-orders").await;
    browser.click("link", number.as_str().expect("a number")).await;
    browser.until_text("What happened").await;
    show(browser, "console-order").await;
}

/// Begins to replay the shown dead letters, and waits until the plan is shown.
async fn send_again(browser: &Browser, plan: &str) {
    browser.run(SEND_GROUP).await;
    browser.until_text(plan).await;
}

async fn until_sent(browser: &Browser) {
    browser.click("button", "Replay").await;
    browser.until_text("Began").await;
    browser.until_true("it is done", "return document.querySelector('#live .badge').textContent === 'done'").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many pictures"]
async fn operator_finds_an_order_and_replays_its_dead_letter_in_pictures() {
    let (mut shop, web, orders, _) = with_dead_orders(3).await;
    let traces = ("TRACE_VIEWER_URL", "http://127.0.0.1:16686/trace/{trace_id}");
    let (_, operators) = start_web_for_operators(&mut shop, &[traces]).await;
    let browser = Browser::open(&format!("{}/ops", operators.web.root), DESKTOP).await;
    log_in(&browser).await;
    browser.until_text("3 failed messages need attention.").await;
    browser.until_true("a line is drawn", "return document.querySelector('polyline') !== null").await;
    show(&browser, "console-overview").await;

    find(&browser, &orders[0]).await;
    browser.click("link", "Its dead letters").await;
    browser.until_text("One by one").await;
    show(&browser, "console-dead-letters").await;
    repair_payments(&shop).await;
    browser.run(THROW_GROUP).await;
    browser.until_text("Discard 1 message?").await;
    show(&browser, "console-discard").await;
    browser.click("link", "Leave them").await;
    browser.until_text("One by one").await;

    browser.go_to(&format!("{}/ops/dead-letters?order={}", operators.web.root, orders[0].id)).await;
    send_again(&browser, "Replay 1 message?").await;
    show(&browser, "console-plan").await;
    until_sent(&browser).await;
    show(&browser, "console-replay").await;
    web.until_status(&orders[0], "shipped").await;
    browser.go_to(&format!("{}/ops/dead-letters", operators.web.root)).await;
    send_again(&browser, "Replay 2 messages?").await;
    until_sent(&browser).await;
    shop.until_orders("shipped", 3).await;

    browser.click("link", "Stock").await;
    browser.until_text("MUG-BLUE").await;
    show(&browser, "console-stock").await;
    browser.click("link", "Who did what").await;
    browser.until_text("Logged in to the console.").await;
    show(&browser, "console-audit").await;
    browser.no_errors().await;
    browser.click("button", "Log out").await;
    browser.until_text("Your operator token").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overview_of_an_ended_session_shows_the_log_in() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let browser = Browser::open(&format!("{}/ops", operators.web.root), DESKTOP).await;
    browser.fill("Your operator token", ADA).await;
    browser.click("button", "Log in").await;
    browser.until_true("it is shown", "return document.querySelector('[data-live]') !== null").await;
    // The session ends as after twelve hours or a log-out in another tab.
    browser.run("fetch('/ops/logout', { method: 'POST', redirect: 'manual' })").await;
    browser.until_text("Your operator token").await;
    shop.close().await;
}
