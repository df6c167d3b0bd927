//! A message that is not an event is dead-lettered for operators. Retries: `dead_letters`.

use lapin::types::AMQPValue;
use orderflow_service::broker::names;
use orderflow_tests::{Shop, VISA, queues};

#[tokio::test(flavor = "multi_thread")]
async fn message_that_is_not_an_event_is_dead_lettered_and_others_continue() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let queue = queues::PAYMENT_ORDER_CREATED.queue();
    let probe = shop.probe().await;
    web.orders(10, "MUG-BLUE", VISA).await;
    // Through the exchange that routes to a single queue, so that only payment gets it.
    probe.publish(names::RETURN, &queue, b"{\"type\":\"orders.order-created.v1\",\"id\":7}").await;
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 20).await;
    let dead = queues::PAYMENT_ORDER_CREATED.dead_letter_queue();
    probe.until_waiting(&dead, 1).await;
    let letter = probe.take(&dead).await;
    let headers = letter.properties.headers().clone().expect("it has headers");
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => format!("{other:?}"),
    };
    assert!(header("x-orderflow-reason").contains("not a CloudEvents 1.0 event"), "{headers:?}");
    assert_eq!(header("x-orderflow-queue"), queue);
    assert!(header("x-orderflow-worker").starts_with("orderflow-worker @"), "{headers:?}");
    assert!(header("x-orderflow-failed-at").ends_with('Z'), "{headers:?}");
    assert_eq!(headers.inner().get("x-orderflow-attempt"), Some(&AMQPValue::LongUInt(1)));
    shop.close().await;
}
