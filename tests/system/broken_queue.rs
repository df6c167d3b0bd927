//! Queues that RabbitMQ cannot read, as after a full disk. RabbitMQ closes the whole connection of a consumer of one.

use orderflow_tests::{
    Child, Shop, VISA,
    own::{Own, Wanted},
    until,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    commands::ended,
    dead_letters::{break_payments, repair_payments},
    doctor::doctor,
    republish::topology_apply,
};

/// Not a step of an order, so orders settle without it.
const QUEUE: &str = "email.order-created";

/// Stops the queue's process, as in a shop that has run for a while: RabbitMQ has statistics of the queue, and keeps them.
async fn stop_queue(own: &mut Own, shop: &Shop, queue: &str) {
    until("RabbitMQ has statistics of the queue", async || {
        let seen = shop.manage(Method::GET, &format!("queues/{{vhost}}/{queue}")).await;
        if seen["reductions"].is_number() { Ok(()) } else { Err(seen) }
    })
    .await;
    let_queue(own, shop, queue, "stop_server").await;
}

/// Stops or restarts the queue's process.
async fn let_queue(own: &mut Own, shop: &Shop, queue: &str, call: &str) {
    let expression = format!("ra:{call}(quorum_queues, {{'{}_{queue}', node()}}).", shop.name());
    own.rabbitmq.node(0).control(&["eval", &expression]).await;
}

/// Returns how many log lines of a queue contain this text.
fn said(worker: &Child, what: &str, queue: &str) -> usize {
    let queue = format!("queue=\"{queue}\"");
    worker.log().iter().filter(|line| line.contains(what) && line.contains(&queue)).count()
}

/// Found in a fault run: all queues of a worker share a connection. Each attempt to consume a broken queue, every
/// second, closed the connection for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_queue_does_not_stop_the_others() {
    let mut own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    let web = shop.start_web().await;
    stop_queue(&mut own, &shop, QUEUE).await;
    let mut worker = Child::start("orderflow-worker", &[], &shop.settings("orderflow-worker"));
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 10).await;
    until("the worker has tried the queue several times", async || {
        let closed =
            worker.log().iter().filter(|line| line.contains("Connection closed") && line.contains("541")).count();
        if closed >= 5 { Ok(()) } else { Err(closed) }
    })
    .await;
    let lost = said(&worker, "the queue is no longer consumed", "payment.order-created");
    assert!(lost <= 1, "{lost} times");
    assert_eq!(said(&worker, "cannot read a queue", QUEUE), 1, "the log names the queue and the remedy");
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    ended(&doctor(&shop).await, 1, &[&format!("RabbitMQ cannot serve {QUEUE}:")]);

    // The remedy from docs/RUNBOOK.md.
    let seen = shop.manage(Method::GET, &format!("queues/{{vhost}}/{QUEUE}?disable_stats=true")).await;
    assert_eq!((&seen["leader"], &seen["online"]), (&Value::Null, &json!([])), "{seen}");
    shop.manage(Method::DELETE, &format!("queues/{{vhost}}/{QUEUE}")).await;
    topology_apply(&shop).await;
    worker.until_logged(&format!("consuming queue=\"{QUEUE}\"")).await;
    shop.workers().push(worker);
    shop.close().await;
}

/// Found in a fault run: events that had to be retried stayed in their work queue, came back, and were handled one at a
/// time. The service hardly moved.
#[tokio::test(flavor = "multi_thread")]
async fn failed_events_pass_over_an_unreadable_retry_queue() {
    let retry = "orders.retry.200ms";
    let mut own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    stop_queue(&mut own, &shop, retry).await;
    let web = shop.start_web().await;
    break_payments(&shop).await;
    let worker = Child::start("orderflow-worker", &[], &shop.settings("orderflow-worker"));
    web.order("MUG-BLUE", 1, VISA).await;
    until("the worker passes over the queue", async || {
        let passed_over = said(&worker, "RabbitMQ confirms no message for this queue", retry);
        if passed_over > 0 { Ok(()) } else { Err(passed_over) }
    })
    .await;
    repair_payments(&shop).await;
    ended(&doctor(&shop).await, 1, &[&format!("RabbitMQ cannot serve {retry}:")]);
    shop.until_orders("shipped", 1).await;
    let_queue(&mut own, &shop, retry, "restart_server").await;
    shop.workers().push(worker);
    shop.close().await;
}
