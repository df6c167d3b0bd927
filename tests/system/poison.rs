//! When one of 256 messages that arrive together is poison, only that message fails.

use lapin::{message::Delivery, types::AMQPValue};
use orderflow_service::Subscription;
use orderflow_tests::{Order, Shop, VISA, Web, queues, until};
use serde_json::Value;

const ORDERS: usize = 256;
const PAYMENT: Subscription = queues::PAYMENT_ORDER_CREATED;

/// Waits until payment's dead-letter queue holds this many messages, then removes and returns them.
async fn dead_letters(shop: &Shop, wanted: u32) -> Vec<Delivery> {
    let probe = shop.probe().await;
    probe.until_dead(PAYMENT, wanted).await;
    probe.take_all(&PAYMENT.dead_letter_queue()).await
}

fn order_of(letter: &Delivery) -> String {
    let event: Value = serde_json::from_slice(&letter.data).expect("an event");
    event["subject"].as_str().expect("an order").to_owned()
}

fn reason_of(letter: &Delivery) -> String {
    let headers = letter.properties.headers().clone().expect("it has headers");
    assert_eq!(headers.inner().get("x-orderflow-attempt"), Some(&AMQPValue::LongUInt(3)), "every attempt is used");
    match headers.inner().get("x-orderflow-reason") {
        Some(AMQPValue::LongString(reason)) => reason.to_string(),
        other => panic!("no reason: {other:?}"),
    }
}

/// Waits until all but `poisoned` of these orders have shipped and their customers have all mails.
async fn others_shipped(shop: &Shop, all: usize, poisoned: i64) {
    let all = i64::try_from(all).expect("small");
    shop.until_orders("shipped", all - poisoned).await;
    for (kind, wanted) in [("received", all), ("shipped", all - poisoned)] {
        let sent = format!("SELECT count(*) FROM email.mails WHERE kind = '{kind}' AND sent_at IS NOT NULL");
        until(&format!("{wanted} mails {kind:?} are sent"), async || {
            let count = shop.number(&sent).await;
            if count == wanted { Ok(()) } else { Err(count) }
        })
        .await;
    }
    shop.until_published().await;
}

/// Ends a test that has removed the dead letters of poisoned orders. A plain `close` would wait for these orders;
/// naming a dead-letter queue prevents that.
async fn close(shop: Shop) {
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

/// Places orders while no worker runs, so that the next worker receives them in batches.
async fn placed(shop: &Shop, web: &Web) -> Vec<Order> {
    let orders = web.orders(ORDERS, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    orders
}

/// A handler that always panics for one order, in each of its steps. The rounds share a shop.
#[tokio::test(flavor = "multi_thread")]
async fn panic_in_any_step_for_one_order_fails_only_that_order() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    for (round, step) in (1..).zip(["prepare", "act", "record"]) {
        for worker in shop.workers().drain(..) {
            worker.stop().await;
        }
        let poison = placed(&shop, &web).await[100].id;
        shop.start_faulty_worker(step, poison, u32::MAX).await;
        let letters = dead_letters(&shop, 1).await;
        assert_eq!(order_of(&letters[0]), poison.to_string(), "{step}");
        assert!(reason_of(&letters[0]).contains("the handler panicked"), "{step}: {letters:?}");
        let of_poison = format!("SELECT count(*) FROM payment.payments WHERE order_id = '{poison}'");
        assert_eq!(shop.number(&of_poison).await, 0, "{step}: a rolled-back row was committed with another batch");
        others_shipped(&shop, ORDERS * round, i64::try_from(round).expect("small")).await;
    }
    close(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_whose_handler_panicked_is_retried_and_the_actor_survives() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let orders = placed(&shop, &web).await;
    shop.start_faulty_worker("act", orders[100].id, 1).await;
    shop.until_orders("shipped", i64::try_from(ORDERS).expect("small")).await;
    let worker = shop.workers().last_mut().expect("it runs");
    let log = worker.log();
    let tried_again = log.iter().filter(|line| line.contains("it is tried again")).count();
    assert_eq!(tried_again, 1, "the rest of the batch was not retried");
    let opened = log.iter().filter(|line| line.contains("consuming") && line.contains("payment.order-created"));
    assert_eq!(opened.count(), 1, "the consumer was never restarted");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_database_refuses_fail_only_their_own_messages() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let orders = placed(&shop, &web).await;
    let (negative, long) = (orders[50].id, orders[200].id);
    // Our own code never writes such orders.
    shop.execute("ALTER TABLE orders.orders DROP CONSTRAINT orders_total_check").await;
    shop.execute(&format!("UPDATE orders.orders SET total = -1 WHERE id = '{negative}'")).await;
    // An index entry holds at most about 2,700 bytes, and this text does not compress.
    shop.execute("CREATE INDEX ON payment.payments (currency)").await;
    let text = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) AS n";
    shop.execute(&format!("UPDATE orders.orders SET currency = ({text}) WHERE id = '{long}'")).await;
    // These orders' mails would be poison too, which this test does not cover.
    shop.start_worker_without(&["email.order-*", "email.payment-*"], &[]).await;
    let letters = dead_letters(&shop, 2).await;
    for letter in &letters {
        let (order, reason) = (order_of(letter), reason_of(letter));
        let expected = if order == negative.to_string() { "violates check constraint" } else { "index row" };
        assert!(reason.contains(expected), "{reason}");
        assert!([negative, long].map(|id| id.to_string()).contains(&order), "{order}");
    }
    shop.execute(&format!("UPDATE orders.orders SET total = 0, currency = 'EUR' WHERE id IN ('{negative}', '{long}')"))
        .await;
    shop.start_worker(&["email.*"]).await;
    others_shipped(&shop, ORDERS, 2).await;
    close(shop).await;
}
