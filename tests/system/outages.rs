//! Everything recovers from outages, and nothing is lost or done twice.

use orderflow_tests::{Proxy, Shop, VISA, Way, Web, run, until};
use reqwest::Method;
use serde_json::Value;

/// Starts a front end and a worker that reach the broker through a proxy that can cut the connection.
async fn start_wired(shop: &mut Shop) -> (Web, Proxy) {
    let web_url = shop.broker_url("orderflow-web");
    let worker_url = shop.broker_url("orderflow-worker");
    let wire = Proxy::to(&web_url).await;
    let web = shop.start_web_with(&[("AMQP_URL", wire.through(&web_url).as_str())]).await;
    shop.start_worker_with(&[], &[("AMQP_URL", wire.through(&worker_url).as_str())]).await;
    (web, wire)
}

async fn until_broker(web: &Web, wanted: &str) {
    until(&format!("the front end sees that the broker is {wanted}"), async || {
        let answer = web.get("/readyz", &[]).await;
        if answer.body["broker"] == wanted { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_accepted_during_a_broker_outage_and_ship_afterwards() {
    let mut shop = Shop::open().await;
    let (web, wire) = start_wired(&mut shop).await;
    wire.cut().await;
    until_broker(&web, "degraded").await;
    // Fails unless every order is answered 202.
    web.orders(50, "MUG-BLUE", VISA).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.outbox").await, 50);
    wire.mend().await;
    shop.until_orders("shipped", 50).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_cut_under_load_loses_nothing() {
    let mut shop = Shop::open().await;
    let (web, wire) = start_wired(&mut shop).await;
    for round in 1..=3 {
        web.orders(50, "MUG-BLUE", VISA).await;
        shop.until_orders("shipped", 50 * round - 25).await;
        wire.cut().await;
        wire.mend().await;
    }
    shop.until_orders("shipped", 150).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_waits_for_an_unavailable_database() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    shop.start_worker_with(&[], &[("DATABASE_URL", wire.through(&url).as_str())]).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    wire.cut().await;
    web.orders(20, "MUG-BLUE", VISA).await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the database is unavailable").await;
    wire.mend().await;
    shop.until_orders("shipped", 40).await;
    shop.close().await;
}

/// Something between a worker and the database drops every connection silently in the middle of the work, including
/// those that record payment intents. No socket ever reports an end, so only our own time-outs help.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, the time limit of a transaction: `make test-full` runs it"]
async fn silently_dropped_database_connections_time_out_and_orders_continue() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    shop.start_worker_with(&[], &[("DATABASE_URL", wire.through(&url).as_str())]).await;
    web.orders(100, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    wire.half_open();
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 120).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_500_orders_charges_nobody_twice() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    web.orders(500, "MUG-BLUE", VISA).await;
    // With small batches, the kill interrupts many of them.
    shop.start_worker_with(&[], &[("BATCH_SIZE", "8"), ("PREFETCH", "32")]).await;
    let payments = "SELECT count(*) FROM payment.payments";
    until("some of the orders are paid", async || {
        let paid = shop.number(payments).await;
        if paid >= 100 { Ok(()) } else { Err(paid) }
    })
    .await;
    shop.workers().pop().expect("it runs").kill().await;
    assert!(shop.number("SELECT count(*) FROM orders.orders WHERE status = 'shipped'").await < 500, "killed too late");
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 500).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_queue_is_consumed_again_once_it_is_recreated() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let first = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&first, "shipped").await;
    shop.manage(Method::DELETE, "queues/{vhost}/shipping.inventory-reserved").await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("RabbitMQ cancelled the consumer").await;
    worker.until_logged("run `orderflow topology apply`").await;
    let applied = run("orderflow", &["topology", "apply"], &shop.operator_settings()).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let second = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&second, "shipped").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_an_operator_are_reopened() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    // The management API lists connections a few seconds late. Each process has a publisher, and the worker a consumer.
    let (mut open, mut of_worker) = (Vec::<String>::new(), 0);
    until("the broker shows all our connections", async || {
        let listed = shop.manage(Method::GET, "vhosts/{vhost}/connections").await;
        let name = |one: &Value| Some(one["name"].as_str()?.to_owned());
        open = listed.as_array().into_iter().flatten().filter_map(name).collect();
        let ours =
            |one: &Value| one["user_provided_name"].as_str().is_some_and(|name| name.starts_with("orderflow-worker "));
        of_worker = listed.as_array().into_iter().flatten().filter(|one| ours(one)).count();
        if open.len() >= 3 && listed.to_string().contains("orderflow-worker consuming") { Ok(()) } else { Err(listed) }
    })
    .await;
    // Hosted brokers allow few connections: one to consume, one to publish, two for queries.
    assert!((2..=4).contains(&of_worker), "{of_worker} connections of one worker");
    for name in &open {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        shop.manage(Method::DELETE, &format!("connections/{name}")).await;
    }
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the queue is no longer consumed; reconnecting").await;
    worker.until_logged("the publishing connection to RabbitMQ broke").await;
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 40).await;
    shop.close().await;
}

/// Imitates an alarm (memory, disk): the broker keeps the connection and reads nothing from it. A real alarm would
/// block every test on the shared server.
#[tokio::test(flavor = "multi_thread")]
async fn broker_that_blocks_publishing_does_not_prevent_orders() {
    let mut shop = Shop::open().await;
    let (web, wire) = start_wired(&mut shop).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    wire.stall(Way::ToServer);
    // Fails unless every order is answered 202.
    web.orders(50, "MUG-BLUE", VISA).await;
    let front_end = shop.webs().last_mut().expect("it runs");
    front_end.until_logged("the publishing connection to RabbitMQ broke").await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.outbox").await, 50);
    web.orders(50, "MUG-BLUE", VISA).await;
    wire.flow();
    shop.until_orders("shipped", 120).await;
    shop.close().await;
}
