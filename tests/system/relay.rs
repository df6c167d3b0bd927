//! The relay publishes every row of the outbox, whichever version wrote it.

use orderflow_service::broker::names;
use orderflow_tests::{Child, Order, Probe, Proxy, Scrape, Shop, VISA, Web, run, until};
use uuid::Uuid;

use crate::commands::{ended, with};

/// A type and data of a later version. Our encoder writes neither these spaces nor this order of fields, so a body
/// that was decoded and re-encoded would differ.
const NEWER: &str = r#"{ "type": "orders.order-gift-wrapped.v1", "specversion": "1.0",  "data": {"ribbon": "red"} }"#;

/// During an upgrade, an old program leases rows that a new one wrote. Publishing needs only the key and the body. An
/// event without a subscription lands in `orders.unrouted`, where `orderflow doctor` reports it. The rows leased with
/// it, up to 500 events, must not wait for the rest of the upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn outbox_row_of_an_unknown_type_is_published_with_the_others() {
    let mut shop = Shop::open().await;
    let url = shop.broker_url("orderflow-web");
    let wire = Proxy::to(&url).await;
    let web = shop.start_web_with(&[("AMQP_URL", wire.through(&url).as_str())]).await;
    wire.cut().await;
    until("the front end sees that the broker is unavailable", async || {
        let answer = web.get("/readyz", &[]).await;
        if answer.body["broker"] == "degraded" { Ok(()) } else { Err(answer) }
    })
    .await;
    let orders = web.orders(3, "MUG-BLUE", VISA).await;
    let id = Uuid::now_v7();
    // This row comes first in the lease, so a failure would hold up the others.
    shop.execute(&format!(
        "INSERT INTO messaging.outbox
             (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at)
         VALUES ('{id}', '{}', 'order.gift-wrapped', '/orderflow/order', now(), '{id}', '{NEWER}', now(), '-infinity')",
        orders[0].id
    ))
    .await;
    shop.execute("UPDATE messaging.outbox SET available_at = least(available_at, now())").await;
    wire.mend().await;
    shop.until_published().await;
    let probe = shop.probe().await;
    probe.until_waiting("payment.order-created", 3).await;
    let newer = probe.take(names::UNROUTED).await;
    assert_eq!(newer.data, NEWER.as_bytes());
    assert_eq!(newer.routing_key.as_str(), "order.gift-wrapped");
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    assert_eq!(text(newer.properties.message_id()), Some(id.to_string()));
    assert_eq!(text(newer.properties.kind()).as_deref(), Some("orders.order-gift-wrapped.v1"));
    assert_eq!(*newer.properties.delivery_mode(), Some(2));
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 3).await;
    shop.close().await;
}

/// AMQP limits a routing key, a type and a source to 255 bytes, and RabbitMQ 4 a body to 16 MiB. A longer one closes
/// the channel. Up to 4,096 other unconfirmed messages would then wait for another lease, every minute.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_outbox_row_that_rabbitmq_cannot_carry_stays_and_is_reported() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let too_long = format!("'order.{}'", "x".repeat(250));
    let typed = format!(r#"'{{"type":"orders.{}.v1"}}'"#, "x".repeat(256));
    let rows = [
        (Uuid::now_v7(), too_long.as_str(), "'/orderflow/order'", "'{}'"),
        (Uuid::now_v7(), "'order.created'", too_long.as_str(), "'{}'"),
        (Uuid::now_v7(), "'order.created'", "'/orderflow/order'", typed.as_str()),
        (Uuid::now_v7(), "'order.created'", "'/orderflow/order'", "repeat('x', 16 * 1024 * 1024 + 1)"),
    ];
    for (id, event, source, body) in &rows {
        shop.execute(&format!(
            "INSERT INTO messaging.outbox
                 (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at)
             VALUES ('{id}', '{id}', {event}, {source}, now(), '{id}', {body}, now(), '-infinity')"
        ))
        .await;
    }
    for (id, ..) in &rows {
        let line = shop.webs()[0].until_logged(&id.to_string()).await;
        assert!(line.contains("WARN") && line.contains("correct or delete its row in messaging.outbox"), "{line}");
    }
    web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_unpublished(4).await;
    let log = shop.webs()[0].log();
    assert!(!log.iter().any(|line| line.contains("the publishing connection to RabbitMQ broke")), "{log:#?}");
    shop.execute("DELETE FROM messaging.outbox").await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 3).await;
    shop.close().await;
}

/// Adds a row that front ends publish, and waits for it: by then their relays have leased all due rows of theirs.
async fn until_relays_have_looked(shop: &Shop, probe: &Probe) {
    let id = Uuid::now_v7();
    shop.execute(&format!(
        "INSERT INTO messaging.outbox
             (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at)
         VALUES ('{id}', '{id}', 'order.gift-wrapped', '/orderflow/order', now(), '{id}', '{NEWER}', now(), '-infinity')"
    ))
    .await;
    probe.until_waiting(names::UNROUTED, 1).await;
    probe.take_all(names::UNROUTED).await;
}

/// Places an order whose payment is committed but not published: the only payment worker dies in between and does not
/// restart.
async fn with_an_unpublished_payment(shop: &Shop, web: &Web) -> Order {
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let crash = with(shop.settings("orderflow-worker"), &[("ORDERFLOW_CRASH", "after-commit:1")]);
    let _payment = Child::start("orderflow-worker", &["--queue", "payment.*"], &crash);
    until("the payment is committed, and nothing else waits", async || {
        let events = shop.text("SELECT coalesce(string_agg(event, ' '), '') FROM messaging.outbox").await;
        if events == "payment.completed" { Ok(()) } else { Err(events) }
    })
    .await;
    // As if it were an hour later.
    shop.execute("UPDATE messaging.outbox SET created_at = now() - interval '1 hour', available_at = now()").await;
    order
}

/// No other service's processes publish its events. Orders are still accepted, and an operator can publish the events.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_unavailable_service_wait_for_it_or_an_operator_and_block_no_order() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&["payment.*"], &[]).await;
    let order = with_an_unpublished_payment(&shop, &web).await;
    until_relays_have_looked(&shop, &probe).await;
    until_relays_have_looked(&shop, &probe).await;
    assert_eq!(shop.number("SELECT attempts FROM messaging.outbox WHERE event = 'payment.completed'").await, 0);
    let operators = shop.webs()[0].logged_address("at").await;
    let waits =
        async || Scrape::of(operators).await.sum("orderflow_outbox_oldest_seconds", &[("event", "payment.completed")]);
    until("the front end reports the waiting event", async || {
        let oldest = waits().await;
        if oldest > 3_000.0 { Ok(()) } else { Err(oldest) }
    })
    .await;
    web.order("MUG-BLUE", 1, VISA).await;

    let operator = shop.operator_settings();
    ended(&run("orderflow", &["doctor"], &operator).await, 1, &["1 event of the service payment cannot be published"]);
    ended(&run("orderflow", &["queues"], &operator).await, 0, &["payment.completed: 1 event not published"]);
    ended(
        &run("orderflow", &["why", &order.id.to_string()], &operator).await,
        0,
        &["a process of the service payment"],
    );
    shop.until_unpublished(1).await;
    let dry_run = run("orderflow", &["republish", "--outbox", "--dry-run", "--json"], &operator).await;
    ended(&dry_run, 0, &["\"service\": \"payment\"", "\"published\": 0"]);
    ended(&run("orderflow", &["republish", "--outbox", "--yes"], &operator).await, 0, &["1 event published."]);
    web.until_status(&order, "shipped").await;
    until("the metric returns to zero", async || {
        let oldest = waits().await;
        if oldest == 0.0 { Ok(()) } else { Err(oldest) }
    })
    .await;
    ended(&run("orderflow", &["republish", "--outbox"], &operator).await, 0, &["Nothing waits in the outbox."]);
    shop.start_worker(&["payment.*"]).await;
    shop.close().await;
}

/// The service's next process publishes the events that the last one left.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_unavailable_service_are_published_when_it_restarts() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = with_an_unpublished_payment(&shop, &web).await;
    shop.start_worker(&["payment.*"]).await;
    shop.until_published().await;
    shop.start_worker(&[]).await;
    web.until_status(&order, "shipped").await;
    shop.close().await;
}
