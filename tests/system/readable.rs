//! Messages as people see them in RabbitMQ's management UI.

use lapin::BasicProperties;
use orderflow_events::{Envelope, OrderCreated};
use orderflow_service::broker::names;
use orderflow_tests::{Shop, VISA, queues};

/// Trial G7: an event was one line of 505 bytes, and the page cut it at its margin.
#[tokio::test(flavor = "multi_thread")]
async fn published_event_is_indented_and_a_single_line_is_handled_too() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    let queue = queues::PAYMENT_ORDER_CREATED.queue();
    let order = web.order("MUG-BLUE", 1, VISA).await;
    probe.until_waiting(&queue, 1).await;
    let message = probe.take(&queue).await;
    let body = String::from_utf8(message.data).expect("text");
    assert!(body.starts_with("{\n  \"specversion\": \"1.0\",\n"), "{body}");
    assert!(body.lines().all(|line| line.chars().count() <= 100), "{body}");
    let event = Envelope::<OrderCreated>::decode(body.as_bytes()).expect("an event");

    // The form that older programs published.
    let one_line = serde_json::to_vec(&event).expect("it has a JSON form");
    let properties = BasicProperties::default().with_message_id(event.id.to_string().into()).with_delivery_mode(2);
    probe.publish_with(names::RETURN, &queue, &one_line, properties).await;
    shop.start_worker(&[]).await;
    web.until_status(&order, "shipped").await;
    shop.close().await;
}
