//! When a worker acknowledges the events of a batch, it acknowledges no earlier event that it has not finished.

use orderflow_tests::{Order, Shop, VISA, Web, queues};
use reqwest::Method;
use serde_json::json;

/// The orders that ship while another order's payment is unfinished.
const LATER: i64 = 20;

/// Ships later orders, kills the worker, and requires that RabbitMQ still has the unfinished payment's message.
async fn later_orders_leave_it_unacknowledged(shop: &mut Shop, web: &Web) {
    web.orders(usize::try_from(LATER).expect("small"), "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", LATER).await;
    shop.workers().pop().expect("it runs").kill().await;
    shop.probe().await.until_waiting(&queues::PAYMENT_ORDER_CREATED.queue(), 1).await;
}

/// Ends a test: the unfinished order ships once another worker has started.
async fn ships(mut shop: Shop, web: &Web, unfinished: &Order) {
    shop.start_worker(&[]).await;
    web.until_status(unfinished, "shipped").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_in_hand_is_not_acknowledged_together_with_later_ones() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    shop.start_worker_with(&[], &[("PAYMENT_TIMEOUT", "5m")]).await;
    shop.stripe().fail("hang_before", 1.0).await;
    let hanging = web.order("MUG-BLUE", 1, VISA).await;
    shop.stripe().until_failed("hang_before", 1).await;
    shop.stripe().fail("hang_before", 0.0).await;
    later_orders_leave_it_unacknowledged(&mut shop, &web).await;
    ships(shop, &web, &hanging).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_delivery_is_not_acknowledged_before_its_copy_is_safe() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let failing = web.order("MUG-BLUE", 1, VISA).await;
    shop.until_published().await;
    // The worker may publish everything except the copies of failed messages.
    let permission = "permissions/{vhost}/orderflow-worker";
    let as_before = shop.manage(Method::GET, permission).await;
    let narrower =
        json!({ "configure": as_before["configure"], "write": "^orders.events$", "read": as_before["read"] });
    shop.manage_with(Method::PUT, permission, &narrower).await;
    shop.start_faulty_worker("act", failing.id, 1).await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the user in AMQP_URL may not publish").await;
    later_orders_leave_it_unacknowledged(&mut shop, &web).await;
    shop.manage_with(Method::PUT, permission, &as_before).await;
    ships(shop, &web, &failing).await;
}
