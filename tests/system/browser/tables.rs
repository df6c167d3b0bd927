//! The console's tables can be read in full.

use orderflow_tests::{Browser, DESKTOP, Screen};

use crate::{
    admin::{ADA, start_web_for_operators},
    dead_letters::{repair_payments, with_dead_orders},
};

/// A small laptop, and half of a large screen next to a terminal.
const SCREENS: [Screen; 2] = [DESKTOP, Screen { width: 800, ..DESKTOP }];

/// Finds tables that are wider than their frame, which then shows only a part: `does not exist` was read as `exist`.
const CUT: &str = "return [...document.querySelectorAll('.table-scroll')]
    .filter((frame) => frame.querySelector('table') && frame.scrollWidth > frame.clientWidth)
    .map((frame) => `${frame.getAttribute('aria-label') ?? frame.getAttribute('aria-labelledby')}: ${frame.scrollWidth} in ${frame.clientWidth}`)";

#[tokio::test(flavor = "multi_thread")]
async fn console_tables_are_not_cut() {
    let (mut shop, web, orders, _) = with_dead_orders(2).await;
    // As long as real reasons, and without a place to break the line.
    shop.execute(
        "UPDATE messaging.attempts SET reason =
             'the database refused a statement: relation \"' || repeat('very_long_name_', 8) || '\" does not exist'",
    )
    .await;
    let (_, operators) =
        start_web_for_operators(&mut shop, &[("TRACE_VIEWER_URL", "http://127.0.0.1:9/{trace_id}")]).await;
    let browser = Browser::open(&format!("{}/ops", operators.web.root), DESKTOP).await;
    browser.fill("Your operator token", ADA).await;
    browser.click("button", "Log in").await;
    browser.until_text("2 failed messages need attention.").await;
    let order = format!("/ops/orders/{}", orders[0].id);
    browser.go_to(&format!("{}{order}", operators.web.root)).await;
    repair_payments(&shop).await;
    browser.click("button", "Replay…").await;
    browser.until_text("Replay 1 message?").await;
    browser.click("button", "Replay").await;
    web.until_status(&orders[0], "shipped").await;

    let other = format!("/ops/orders/{}", orders[1].id);
    for path in ["/ops", "/ops/orders", &order, &other, "/ops/dead-letters", "/ops/products", "/ops/audit"] {
        browser.go_to(&format!("{}{path}", operators.web.root)).await;
        for screen in SCREENS {
            browser.set(screen).await;
            let cut = browser.run(CUT).await;
            assert_eq!(cut, serde_json::json!([]), "{path} at {} pixels", screen.width);
            let page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth";
            assert_eq!(browser.run(page).await, true, "{path} at {} pixels is wider than the screen", screen.width);
        }
    }
    browser.go_to(&format!("{}{other}", operators.web.root)).await;
    browser.until_text("does not exist").await;
    browser.click("button", "Replay…").await;
    browser.until_text("Replay 1 message?").await;
    browser.click("button", "Replay").await;
    web.until_status(&orders[1], "shipped").await;
    browser.no_errors().await;
    shop.until_quiet().await;
    shop.close().await;
}
