//! The relay publishes what the outbox holds, whichever version wrote it.

use orderflow_service::broker::names;
use orderflow_tests::{Proxy, Shop, VISA, until};
use uuid::Uuid;

use crate::republish::until_waiting;

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
    until("the outbox is empty", async || {
        let rows = shop.number("SELECT count(*) FROM messaging.outbox").await;
        if rows == 0 { Ok(()) } else { Err(rows) }
    })
    .await;
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
    let too_long = format!("'{}'", "x".repeat(256));
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
    until("the events that can be published are", async || {
        let rows = shop.number("SELECT count(*) FROM messaging.outbox").await;
        if rows == 4 { Ok(()) } else { Err(rows) }
    })
    .await;
    let log = shop.webs()[0].log();
    assert!(!log.iter().any(|line| line.contains("the publishing connection to RabbitMQ broke")), "{log:#?}");
    shop.execute("DELETE FROM messaging.outbox").await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 3).await;
    shop.close().await;
}
