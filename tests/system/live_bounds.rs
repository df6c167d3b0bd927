//! The number of watchers is bounded, they must answer pings, and closed ones cost nothing.

use orderflow_tests::{Said, Scrape, Shop, VISA, until};

/// Waits until the only front end's metrics report this many watchers.
async fn until_watching(shop: &mut Shop, wanted: f64) -> Scrape {
    let operators = shop.webs()[0].logged_address("at").await;
    let mut last = None;
    until(&format!("{wanted} watch"), async || {
        let scrape = Scrape::of(operators).await;
        let watching = scrape.sum("orderflow_live_watchers", &[]);
        last = Some(scrape);
        if (watching - wanted).abs() < f64::EPSILON { Ok(()) } else { Err(watching) }
    })
    .await;
    last.expect("the metrics were read")
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_watchers_is_bounded_and_leaving_frees_a_place() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[("LIVE_WATCHERS", "25")]).await;
    let (order, other) = (web.order("MUG-BLUE", 1, VISA).await, web.order("MUG-BLUE", 1, VISA).await);
    let mut watchers = Vec::new();
    for _ in 0..20 {
        let mut watcher = web.watch(&order, None).await;
        watcher.message().await;
        watchers.push(watcher);
    }
    assert_eq!(web.watch(&order, None).await.until_closed().await, (Vec::new(), Some(1013)), "an order has 20 places");
    for _ in 0..5 {
        let mut watcher = web.watch(&other, None).await;
        watcher.message().await;
        watchers.push(watcher);
    }
    assert_eq!(web.watch(&other, None).await.until_closed().await, (Vec::new(), Some(1013)), "the process has 25");
    // Other requests are still served.
    assert_eq!(web.status(&other).await, "pending");

    watchers.remove(0).leave().await;
    // Leave without a close frame, like a phone that lost its network.
    drop(watchers.remove(0));
    until_watching(&mut shop, 23.0).await;
    let mut welcome = web.watch(&order, None).await;
    assert_eq!(welcome.message().await["type"], "snapshot");
    welcome.leave().await;

    shop.start_worker(&[]).await;
    for mut watcher in watchers {
        let (_, code) = watcher.until_closed().await;
        assert_eq!(code, Some(1000));
    }
    let seen = until_watching(&mut shop, 0.0).await;
    let closed = |reason: &str| seen.sum("orderflow_live_closed_total", &[("reason", reason)]);
    assert_eq!((closed("final"), closed("overloaded"), closed("left")), (23.0, 2.0, 3.0));
    assert_eq!(seen.sum("orderflow_live_messages_total", &[("type", "entry")]), 23.0 * 3.0);
    assert_eq!(seen.sum("orderflow_live_messages_total", &[("type", "snapshot")]), 26.0);
    assert!(seen.sum("orderflow_live_lag_seconds_count", &[]) >= 23.0);
    shop.close().await;
}

/// Takes a minute, nearly all of it waiting.
#[tokio::test(flavor = "multi_thread")]
async fn only_watchers_that_answer_no_ping_are_closed() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let mut reads = web.watch(&order, Some(1)).await;
    // The client library answers pings only while it reads, so this watcher answers none.
    let does_not_read = web.watch(&order, Some(1)).await;
    for _ in 0..2 {
        assert_eq!(reads.said().await, Said::Ping);
    }
    let operators = shop.webs()[0].logged_address("at").await;
    let mut last = None;
    // A third ping shows that the first answers arrived.
    assert_eq!(reads.said().await, Said::Ping);
    until("the silent watcher is closed", async || {
        let scrape = Scrape::of(operators).await;
        let watching = scrape.sum("orderflow_live_watchers", &[]);
        last = Some(scrape);
        if watching < 2.0 { Ok(()) } else { Err(watching) }
    })
    .await;
    let seen = last.expect("the metrics were read");
    assert_eq!(seen.sum("orderflow_live_watchers", &[]), 1.0);
    assert_eq!(seen.sum("orderflow_live_closed_total", &[("reason", "silent")]), 1.0);
    drop(does_not_read);
    shop.start_worker(&[]).await;
    let (messages, code) = reads.until_closed().await;
    assert_eq!((messages.len(), code), (4, Some(1000)));
    shop.close().await;
}
