//! A worker acknowledges the events of a batch together, but none that it still handles.

use orderflow_tests::{Shop, VISA, queues};

/// The events handled while one is in hand.
const LATER: i64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn delivery_in_hand_is_not_acknowledged_together_with_later_ones() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    let probe = shop.probe().await;
    shop.start_worker_with(&[], &[("PAYMENT_TIMEOUT", "5m")]).await;
    shop.stripe().fail("hang_before", 1.0).await;
    let hanging = web.order("MUG-BLUE", 1, VISA).await;
    shop.stripe().until_failed("hang_before", 1).await;
    shop.stripe().fail("hang_before", 0.0).await;
    web.orders(usize::try_from(LATER).expect("small"), "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", LATER).await;

    shop.workers().pop().expect("it runs").kill().await;
    probe.until_waiting(&queues::PAYMENT_ORDER_CREATED.queue(), 1).await;
    shop.start_worker(&[]).await;
    web.until_status(&hanging, "shipped").await;
    shop.close().await;
}
