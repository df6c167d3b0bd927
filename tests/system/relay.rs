//! The relay publishes what the outbox holds, whichever version wrote it.

use orderflow_service::broker::names;
use orderflow_tests::{Child, Order, Probe, Proxy, Scrape, Shop, VISA, Web, run, until};
use uuid::Uuid;

use crate::{
    commands::{ended, with},
    republish::until_waiting,
};

/// A key, a type and data of a later version; with spaces and an order of fields that no encoder of ours writes, so
/// that a body that was decoded and encoded again would not be the same.
const NEWER: &str = r#"{ "type": "orders.order-gift-wrapped.v1", "specversion": "1.0",  "data": {"ribbon": "red"} }"#;

/// During an upgrade an old program leases what a new one wrote. Key and body are all that publishing needs. A kind
/// that nobody subscribes to lands in `orders.unrouted`, where `orderflow doctor` names it; the rows leased with it,
/// up to 500 events, must not wait for the rest of the upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn outbox_row_of_an_unknown_kind_is_published_with_its_neighbours() {
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
    // The first of the lease, so that what comes after it shows.
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
    until_waiting(&probe, "payment.order-created", 3).await;
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

/// AMQP carries at most 255 bytes in a routing key, a type or a source, and RabbitMQ 4 at most 16 MiB in a body. A
/// longer one closes the channel, and up to 4,096 neighbours on the wire would wait for another lease, every minute.
#[tokio::test(flavor = "multi_thread")]
async fn outbox_row_that_rabbitmq_cannot_carry_stays_alone_and_is_named() {
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

/// A row that front ends publish, and after which they have looked at all that is due.
async fn until_relays_have_looked(shop: &Shop, probe: &Probe) {
    let id = Uuid::now_v7();
    shop.execute(&format!(
        "INSERT INTO messaging.outbox
             (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at)
         VALUES ('{id}', '{id}', 'order.gift-wrapped', '/orderflow/order', now(), '{id}', '{NEWER}', now(), '-infinity')"
    ))
    .await;
    until_waiting(probe, names::UNROUTED, 1).await;
    probe.take_all(names::UNROUTED).await;
}

/// An order whose payment is committed and not published, because the only worker of payment died in between and stays away.
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

/// No other service's processes publish for it; orders are taken all the same, and an operator can do it.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_service_that_is_away_wait_for_it_or_for_an_operator_and_stop_no_order() {
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
    until("the front end has measured it", async || {
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
    until("its figure goes back", async || {
        let oldest = waits().await;
        if oldest == 0.0 { Ok(()) } else { Err(oldest) }
    })
    .await;
    ended(&run("orderflow", &["republish", "--outbox"], &operator).await, 0, &["Nothing waits in the outbox."]);
    shop.start_worker(&["payment.*"]).await;
    shop.close().await;
}

/// Its next process publishes what the last one left.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_service_that_was_away_are_published_when_it_comes_back() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = with_an_unpublished_payment(&shop, &web).await;
    shop.start_worker(&["payment.*"]).await;
    shop.until_published().await;
    shop.start_worker_without(&["payment.*"], &[]).await;
    web.until_status(&order, "shipped").await;
    shop.close().await;
}
