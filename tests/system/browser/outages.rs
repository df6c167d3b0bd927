//! The pages while something is unavailable: the front end, the broker, a worker, or capacity for more orders.

use nix::sys::signal::Signal;
use orderflow_tests::{Browser, DESKTOP, PHONE, Proxy, Shop, VISA, Web, body, key, until};
use reqwest::StatusCode;

use super::{MUG, WORKS, buy, fill_in, start_web, start_web_at, steps, until_order};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "restarts what the browser is connected to"]
async fn page_recovers_after_a_restart_of_the_front_end() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    buy(&browser, MUG, WORKS).await;
    browser.run("window.loaded = 'once'").await;
    shop.start_worker_without(&["inventory.*", "shipping.*"], &[]).await;
    browser.until_text("We are setting your things aside").await;

    shop.webs().remove(0).stop().await;
    // The order proceeds while the page cannot be notified.
    shop.start_worker(&["inventory.*"]).await;
    until("the order is reserved", async || {
        let status = shop.number("SELECT count(*) FROM orders.orders WHERE status = 'reserved'").await;
        if status == 1 { Ok(()) } else { Err(status) }
    })
    .await;
    let address = web.root.strip_prefix("http://").expect("an address");
    start_web_at(&mut shop, address, &[]).await;
    browser.until_text("We are handing your parcel to the carrier").await;
    shop.start_worker(&["shipping.*"]).await;
    browser.until_text("Your parcel is with the carrier").await;
    assert_eq!(browser.run("return window.loaded").await, "once");
    assert!(!browser.text().await.contains("connection was lost"), "it is connected again");
    browser.axe().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cuts the broker off"]
async fn page_recovers_after_an_outage_of_the_broker() {
    let mut shop = Shop::open().await;
    let urls = ["orderflow-web", "orderflow-worker"].map(|user| shop.broker_url(user));
    let wires = [Proxy::to(&urls[0]).await, Proxy::to(&urls[1]).await];
    let [for_web, for_worker] = [0, 1].map(|one: usize| wires[one].through(&urls[one]).to_string());
    let web = start_web(&mut shop, &[("AMQP_URL", &for_web)]).await;
    shop.start_worker_without(&["shipping.*"], &[("AMQP_URL", &for_worker)]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    buy(&browser, MUG, WORKS).await;
    browser.until_text("We are handing your parcel to the carrier").await;
    browser.run("window.loaded = 'once'").await;
    for wire in &wires {
        wire.cut().await;
    }
    // Customers can buy while the broker is unavailable.
    let other = Browser::open(&web.root, PHONE).await;
    buy(&other, MUG, WORKS).await;
    other.until_text("We are taking your payment").await;
    other.axe().await;
    for wire in &wires {
        wire.mend().await;
    }
    shop.start_worker_with(&["shipping.*"], &[("AMQP_URL", &for_worker)]).await;
    for page in [&browser, &other] {
        page.until_text("Your parcel is with the carrier").await;
        page.no_errors().await;
    }
    assert_eq!(browser.run("return window.loaded").await, "once", "the page was loaded only once");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits until an estimate grows"]
async fn estimate_grows_while_a_worker_hangs_and_the_page_reports_when_none_runs() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    // Gives the shop a duration from which to estimate.
    let before = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&before, "shipped").await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    fill_in(&browser, MUG, WORKS).await;
    shop.workers()[0].signal(Signal::SIGSTOP);
    browser.click("button", "Place order").await;
    until_order(&browser).await;
    let estimates = until_it_grows(&browser).await;
    println!("the estimates: {estimates:?}");
    browser.axe().await;
    shop.workers()[0].signal(Signal::SIGCONT);
    browser.until_text("Your parcel is with the carrier").await;

    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    browser.go_to(&web.root).await;
    buy(&browser, MUG, WORKS).await;
    browser.until_text("one of our steps is paused at the moment").await;
    browser.axe().await;
    shop.start_worker(&[]).await;
    browser.until_text("Your parcel is with the carrier").await;
    browser.no_errors().await;
    shop.close().await;
}

/// Waits for an estimate 10 s longer than the first, and returns the different estimates until then, in seconds.
async fn until_it_grows(browser: &Browser) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    until("the estimate grows", async || {
        let text = browser.run("return document.getElementById('estimate')?.textContent ?? ''").await;
        let words = text.as_str().unwrap_or_default();
        let Some((_, rest)) = words.split_once("about ").or_else(|| words.split_once("About ")) else {
            return Err(words.to_owned());
        };
        let seconds = rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        if seen.last() != Some(&seconds) {
            seen.push(seconds);
        }
        let grown = seen.first().is_some_and(|first| seconds >= first + 10);
        if grown { Ok(()) } else { Err(words.to_owned()) }
    })
    .await;
    assert!(seen.is_sorted(), "it never shrinks: {seen:?}");
    seen
}

/// Places orders until one is refused, and returns how many were accepted.
async fn until_full(web: &Web) -> i64 {
    let mut taken = 0;
    until("orders are refused", async || {
        let answer = web.place(&key(), &body("MUG-BLUE", 1, VISA)).await;
        match answer.status {
            StatusCode::ACCEPTED => taken += 1,
            // The front end also refuses orders until it has first checked the outbox.
            StatusCode::SERVICE_UNAVAILABLE if taken > 0 => return Ok(()),
            _ => {}
        }
        Err(answer.status)
    })
    .await;
    taken
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits until a page tries again"]
async fn overload_is_shown_and_the_order_is_placed_once_there_is_capacity() {
    let mut shop = Shop::open().await;
    let url = shop.broker_url("orderflow-web");
    let wire = Proxy::to(&url).await;
    let settings = [("AMQP_URL", wire.through(&url).to_string()), ("ADMISSION_MAX_OUTBOX_ROWS", "5".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let web = start_web(&mut shop, &settings).await;
    let browser = Browser::open(&web.root, PHONE).await;
    fill_in(&browser, MUG, WORKS).await;
    wire.cut().await;
    let taken = until_full(&web).await;
    browser.click("button", "Place order").await;
    browser.until_text("We are very busy just now.").await;
    browser.until_text("Trying again automatically").await;
    let is_fixed = browser.run("return document.getElementById('products').inert").await;
    assert_eq!(is_fixed, true, "the form is locked while its order is being sent");
    browser.axe().await;
    wire.mend().await;
    until_order(&browser).await;
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, taken + 1, "the retries placed one order");
    shop.start_worker(&[]).await;
    browser.until_text("Your parcel is with the carrier").await;
    assert_eq!(steps(&browser).await.len(), 4);
    shop.close().await;
}
