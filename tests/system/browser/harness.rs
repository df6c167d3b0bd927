//! The test browser detects what it should: tests of pages that cannot fail prove nothing.

use std::{fs, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use orderflow_tests::{Browser, DESKTOP, PHONE};

/// A valid page; tests replace `[]` with a mistake.
const PAGE: &str = "data:text/html;charset=utf-8,<!doctype html><html lang=en><title>A page</title>\
    <meta name=viewport content='width=device-width'>\
    <style>:root{color-scheme:light dark} h1{text-transform:uppercase}</style>\
    <main><h1>Mugs</h1><label>E-mail <input type=email></label>\
    <button onclick='this.after(document.querySelector(\"input\").value)'>Buy</button><button>Buy again</button>\
    <noscript>without scripts</noscript>[]</main>";

fn page(wrong: &str) -> String {
    PAGE.replace("[]", wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_acts_and_reads_like_a_user() {
    let browser = Browser::open(&page(""), DESKTOP).await;
    browser.axe().await;
    browser.no_errors().await;
    assert_eq!(browser.requests().await, Vec::<String>::new());
    browser.fill("E-mail", "nobody").await;
    browser.fill("E-mail", "ada@example.org").await;
    browser.click("button", "Buy").await;
    browser.until_text("ada@example.org").await;
    assert!(!browser.text().await.contains("nobody"), "`fill` empties a field first");
    browser.until_text("mugs").await;
    assert!(!browser.has("button", "Sell").await && browser.has("button", "Buy ag").await);

    let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!((browser.run(dark).await, browser.run("return innerWidth").await), (false.into(), 1280.into()));
    browser.set(PHONE.dark().without_scripts()).await;
    assert_eq!((browser.run(dark).await, browser.run("return innerWidth").await), (true.into(), 390.into()));
    browser.refresh().await;
    browser.until_text("without scripts").await;
    browser.fill("E-mail", "ada@example.org").await;
    browser.click("button", "Buy").await;
    assert!(!browser.text().await.contains("ada@example.org"), "no script has run");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_reports_violations_errors_and_requests() {
    // An external image without alternative text, and a script that throws.
    let wrong = "<img src='http://pictures.example/1.png'><script>throw new Error('broken by the test')</script>";
    let browser = Browser::open(&page(wrong), DESKTOP).await;
    assert_eq!(browser.requests().await, ["http://pictures.example/1.png"]);
    let errors = browser.errors().await;
    assert!(errors.iter().any(|error| error.contains("broken by the test")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("pictures.example")), "{errors:?}");
    browser.no_errors().await;
    let checked = AssertUnwindSafe(browser.axe()).catch_unwind().await;
    let said = checked.expect_err("a violation").downcast::<String>().expect("a message");
    assert!(said.contains("image-alt: Images must have alternative text"), "{said}");
    assert!(said.contains("<img src=\"http://pictures.example/1.png\">"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_leaves_no_process_behind() {
    let browser = Browser::open(&page(""), DESKTOP).await;
    let running = browser.processes();
    assert!(running.len() > 3, "the driver, the browser and its helpers: {running:?}");
    drop(browser);
    let left = running.into_iter().filter(|id| {
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<u32>::new());
}
