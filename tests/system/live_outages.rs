//! What a watcher is told when something is away: the process that it is connected to, the database, the broker.

use std::time::{Duration, Instant};

use orderflow_tests::{Proxy, Shop, VISA};
use serde_json::Value;

fn versions(messages: &[Value]) -> Vec<i64> {
    messages.iter().filter_map(|message| message["entry"]["version"].as_i64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_that_restarts_says_so_and_another_one_goes_on_from_there() {
    let mut shop = Shop::open().await;
    let (first, second) = (shop.start_web().await, shop.start_web().await);
    let order = first.order("MUG-BLUE", 1, VISA).await;
    let mut watcher = first.watch(&order, Some(0)).await;
    shop.start_worker_without(&["shipping.*"], &[]).await;
    assert_eq!(versions(&watcher.until_version(3).await), [1, 2, 3]);

    let stopping = shop.webs().remove(0);
    let began = Instant::now();
    let ((), (after_all, code)) = tokio::join!(stopping.stop(), watcher.until_closed());
    assert_eq!((after_all, code), (Vec::new(), Some(1001)));
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for its watchers: {:?}", began.elapsed());

    let mut watcher = second.watch(&order, Some(watcher.version)).await;
    shop.start_worker(&["shipping.*"]).await;
    let (messages, code) = watcher.until_closed().await;
    assert_eq!((versions(&messages), code), (vec![4], Some(1000)));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_watchers_stay_and_afterwards_they_miss_nothing() {
    let mut shop = Shop::open().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    let web = shop.start_web_with(&[("DATABASE_URL", wire.through(&url).as_str())]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.until_published().await;
    let mut watcher = web.watch(&order, Some(0)).await;
    watcher.until_version(1).await;
    wire.cut().await;
    shop.webs()[0].until_logged("watchers get no updates").await;
    let refused = web.try_watch(&order, None).await.err();
    assert_eq!(
        refused.map(|(status, problem)| (status, problem["type"].clone())),
        Some((503, "/problems/database-unavailable".into()))
    );
    // The workers have their own way to it.
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    wire.mend().await;
    let (messages, code) = watcher.until_closed().await;
    assert_eq!((versions(&messages), code), (vec![2, 3, 4], Some(1000)));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_watchers_are_told_all_that_the_database_has() {
    let mut shop = Shop::open().await;
    let url = shop.broker_url("orderflow-web");
    let wire = Proxy::to(&url).await;
    let web = shop.start_web_with(&[("AMQP_URL", wire.through(&url).as_str())]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.until_published().await;
    wire.cut().await;
    let mut watcher = web.watch(&order, Some(0)).await;
    shop.start_worker(&[]).await;
    let (messages, code) = watcher.until_closed().await;
    assert_eq!((versions(&messages), code), (vec![1, 2, 3, 4], Some(1000)));
    wire.mend().await;
    shop.close().await;
}
