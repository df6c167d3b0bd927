//! Forged messages: anyone with one of the broker's passwords can publish them.

use std::fs;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use orderflow_events::{EventKind, EventName};
use orderflow_service::{
    Subscription,
    broker::{headers, names},
};
use orderflow_tests::{DECLINED, Order, Probe, Scrape, Shop, VISA, queues, sample, until};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    commands::ended,
    dead_letters::{discard, dlq, until_number},
};

/// Publishes the event by every route that leads to a work queue. Returns the number of routes.
async fn by_every_way(probe: &Probe, kind: EventName, queue: &str, event: &Value) -> u32 {
    let body = event.to_string().into_bytes();
    let properties = || BasicProperties::default().with_content_type("application/cloudevents+json".into());
    let mut copied = FieldTable::default();
    copied.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString(kind.as_str().into())].into()));
    let ways = [
        (names::EVENTS, kind.as_str(), properties()),
        (names::EVENTS, "order.cancelled", properties().with_headers(copied)),
        (names::RETURN, queue, properties()),
        ("orders.retry.200ms", queue, properties()),
    ];
    for (exchange, routing_key, properties) in ways.clone() {
        probe.publish_with(exchange, routing_key, &body, properties).await;
    }
    u32::try_from(ways.len()).expect("a few")
}

/// Returns the id of an order's event of this type.
async fn logged(shop: &Shop, order: &Order, kind: EventKind) -> Uuid {
    let sql = format!("SELECT event_id FROM messaging.event_log WHERE order_id = '{}' AND event = '{kind}'", order.id);
    shop.text(&sql).await.parse().expect("an id")
}

/// Publishes forged events about an order by every route and waits until each is dead-lettered. Then publishes them
/// as dead letters and replays those. `applied` is the id of another order's event that the subscription has applied:
/// a message with that id counts as a duplicate.
async fn lie(shop: &Shop, subscription: Subscription, order: &Order, unknown: [Uuid; 2], applied: Uuid) {
    let (probe, kind, queue) = (shop.probe().await, subscription.event(), subscription.queue());
    by_every_way(&probe, kind, &queue, &sample(kind, applied, order.id)).await;
    let mut published = 0;
    for id in unknown {
        published += by_every_way(&probe, kind, &queue, &sample(kind, id, order.id)).await;
    }
    probe.until_dead(subscription, published).await;
    recognised(&probe, subscription).await;
    for id in [applied, unknown[0], unknown[1]] {
        let (lie, named) =
            (sample(kind, id, order.id), BasicProperties::default().with_message_id(id.to_string().into()));
        probe.publish_with(names::DEAD_LETTERS, &queue, lie.to_string().as_bytes(), named).await;
    }
    let replayed = dlq(shop, &["replay", "--message", &applied.to_string(), "--yes"]).await;
    ended(&replayed, 0, &["already applied"]);
    let [invented, another] = unknown.map(|id| id.to_string());
    let replayed = dlq(shop, &["replay", "--message", &invented, "--yes"]).await;
    ended(&replayed, 1, &["died again", "the event log has no such event"]);
    // The second failure is not recorded for the event that the message names, so the replay does not wait for it.
    dlq(shop, &["replay", "--message", &another, "--yes", "--patience", "1ms"]).await;
    probe.until_dead(subscription, 2).await;
    recognised(&probe, subscription).await;
    let blamed = "SELECT count(*) FROM messaging.attempts JOIN messaging.event_log USING (event_id)";
    assert_eq!(shop.number(blamed).await, 0, "no failed attempt is recorded for an event in the log");
}

/// Takes all dead letters and checks that each carries the reason.
async fn recognised(probe: &Probe, subscription: Subscription) {
    for letter in probe.take_all(&subscription.dead_letter_queue()).await {
        let headers = letter.properties.headers().clone().expect("it has headers");
        let reason = headers::text(&headers, headers::REASON).expect("a reason");
        assert!(reason.starts_with("the event log has no such event"), "{reason}");
        assert_eq!(headers::number(&headers, headers::ATTEMPT), Some(2), "a lagging database gets a second attempt");
        assert!(!headers.contains_key("CC"), "a retry must reach one queue only");
    }
}

/// Without the check, such a message reserved stock, created a shipment and sent a mail, and nobody was charged.
#[tokio::test(flavor = "multi_thread")]
async fn payment_that_never_happened_ships_nothing() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let paid = web.order("MUG-BLUE", 1, VISA).await;
    let declined = web.order("MUG-BLUE", 1, DECLINED).await;
    web.until_status(&paid, "shipped").await;
    web.until_status(&declined, "payment_failed").await;
    shop.until_quiet().await;
    let unknown = [Uuid::now_v7(), logged(&shop, &declined, EventKind::OrderCreated).await];
    let applied = logged(&shop, &paid, EventKind::PaymentCompleted).await;
    lie(&shop, queues::INVENTORY_PAYMENT_COMPLETED, &declined, unknown, applied).await;
    let of_declined = |table: &str| format!("SELECT count(*) FROM {table} WHERE order_id = '{}'", declined.id);
    for table in ["inventory.reservations", "shipping.shipments"] {
        assert_eq!(shop.number(&of_declined(table)).await, 0, "{table}");
    }
    assert_eq!(shop.number(&of_declined("messaging.event_log")).await, 2, "nothing followed");
    assert_eq!(shop.number(&of_declined("email.mails")).await, 2, "received and declined");
    assert_eq!(web.status(&declined).await, "payment_failed");
    forget_dead_letters(shop).await;
}

/// Without the check, such a message refunded a shipped order.
#[tokio::test(flavor = "multi_thread")]
async fn release_that_never_happened_refunds_nothing() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let (order, refused) = (web.order("MUG-BLUE", 1, VISA).await, web.order("BATTERY-BULK", 1, VISA).await);
    web.until_status(&order, "shipped").await;
    web.until_status(&refused, "cancelled").await;
    shop.until_quiet().await;
    let unknown = [Uuid::now_v7(), logged(&shop, &order, EventKind::PaymentCompleted).await];
    let applied = logged(&shop, &refused, EventKind::InventoryReleased).await;
    lie(&shop, queues::PAYMENT_INVENTORY_RELEASED, &order, unknown, applied).await;
    assert_eq!(shop.number("SELECT count(*) FROM simulator.refunds").await, 1, "only the refused shipment is refunded");
    assert_eq!(web.status(&order).await, "shipped");
    forget_dead_letters(shop).await;
}

/// Takes an event's message from its queue, then publishes it altered and again unaltered.
async fn alter(probe: &Probe, subscription: Subscription, data: Value) -> Value {
    let queue = subscription.queue();
    let genuine = probe.take(&queue).await;
    let event: Value = serde_json::from_slice(&genuine.data).expect("an event");
    let mut altered = event.clone();
    altered["data"] = data;
    altered["correlationid"] = json!(Uuid::now_v7());
    altered["traceparent"] = json!("00-11111111111111111111111111111111-2222222222222222-01");
    probe.publish(names::RETURN, &queue, altered.to_string().as_bytes()).await;
    probe.publish_with(names::RETURN, &queue, &genuine.data, genuine.properties).await;
    event
}

/// A message with a logged event's id but other data arrives before the one that the outbox published.
#[tokio::test(flavor = "multi_thread")]
async fn altered_message_has_the_effect_of_the_logged_event() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&["email.*", "inventory.*"], &[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "paid").await;
    shop.until_published().await;
    let paid = json!({ "payment_id": "pay_0", "amount": 1, "currency": "EUR" });
    alter(&probe, queues::INVENTORY_PAYMENT_COMPLETED, paid).await;
    shop.start_worker(&["inventory.*"]).await;
    web.until_status(&order, "shipped").await;
    let followed = format!(
        "SELECT count(DISTINCT (correlation_id, substr(traceparent, 4, 32))) FROM messaging.event_log WHERE order_id = '{}'",
        order.id
    );
    assert_eq!(shop.number(&followed).await, 1, "later events keep the order's own request and trace");

    shop.until_published().await;
    let shipped = alter(&probe, queues::EMAIL_SHIPMENT_CREATED, json!({ "tracking_number": "FORGED0000000" })).await;
    let number = shipped["data"]["tracking_number"].as_str().expect("a number");
    shop.start_worker(&["email.*"]).await;
    until_number(&shop, 1, "SELECT count(*) FROM email.mails WHERE kind = 'shipped' AND sent_at IS NOT NULL").await;
    let mails = mails(&shop);
    assert!(mails.iter().any(|mail| mail.contains(number)), "{mails:?}");
    assert!(!mails.iter().any(|mail| mail.contains("FORGED0000000")), "{mails:?}");
    let mailer = shop.workers().last_mut().expect("it runs").address().await;
    let seen = Scrape::of(mailer).await;
    let queue = queues::EMAIL_SHIPMENT_CREATED.queue();
    assert_eq!(seen.sum("orderflow_queue_altered_messages_total", &[("queue", queue.as_str())]), 1.0);
    shop.close().await;
}

/// The message names an event of another order that is not yet applied: it must affect neither order.
#[tokio::test(flavor = "multi_thread")]
async fn event_of_another_order_affects_neither_order() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&["inventory.*"], &[]).await;
    let (paid, declined) = (web.order("MUG-BLUE", 1, VISA).await, web.order("MUG-BLUE", 1, DECLINED).await);
    web.until_status(&paid, "paid").await;
    web.until_status(&declined, "payment_failed").await;
    shop.until_published().await;
    let subscription = queues::INVENTORY_PAYMENT_COMPLETED;
    let genuine = probe.take(&subscription.queue()).await;
    let happened = logged(&shop, &paid, EventKind::PaymentCompleted).await;
    let lie = sample(subscription.event(), happened, declined.id).to_string();
    probe.publish(names::RETURN, &subscription.queue(), lie.as_bytes()).await;
    shop.start_worker(&["inventory.*"]).await;
    probe.until_dead(subscription, 1).await;
    recognised(&probe, subscription).await;
    assert_eq!(shop.number("SELECT count(*) FROM inventory.reservations").await, 0);
    let named = [("queue", "inventory.payment-completed"), ("reason", "not_in_log")];
    let keeper = shop.workers().last_mut().expect("it runs").address().await;
    until("the dead letter is counted, which happens once it is safe", async || {
        let counted = Scrape::of(keeper).await.sum("orderflow_queue_dead_letters_total", &named);
        if (counted - 1.0).abs() < f64::EPSILON { Ok(()) } else { Err(counted) }
    })
    .await;

    probe.publish_with(names::RETURN, &subscription.queue(), &genuine.data, genuine.properties).await;
    web.until_status(&paid, "shipped").await;
    shop.close().await;
}

fn mails(shop: &Shop) -> Vec<String> {
    let files = fs::read_dir(shop.mail_directory()).expect("a directory").map(|file| file.expect("a file").path());
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

async fn forget_dead_letters(shop: Shop) {
    ended(&discard(&shop, &["--all"]).await, 0, &[]);
    shop.close().await;
}
