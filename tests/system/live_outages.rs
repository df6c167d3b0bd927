//! What a watcher receives when something is unavailable: its front end, the database, the broker.

use std::time::{Duration, Instant};

use orderflow_tests::{Proxy, Shop, VISA};
use serde_json::Value;

fn versions(messages: &[Value]) -> Vec<i64> {
    messages.iter().filter_map(|message| message["entry"]["version"].as_i64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn watcher_of_a_restarting_front_end_continues_at_another() {
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
async fn watchers_stay_connected_through_a_database_outage_and_miss_nothing() {
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
    // The workers have their own connection to the database.
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    wire.mend().await;
    let (messages, code) = watcher.until_closed().await;
    assert_eq!((versions(&messages), code), (vec![2, 3, 4], Some(1000)));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_receive_all_entries_without_the_broker() {
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
