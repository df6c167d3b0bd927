//! Event types that RabbitMQ's user may not publish. RabbitMQ closes the channel for such a message, and with it every
//! other message in flight.

use std::iter::once;

use futures::future::join_all;
use lapin::BasicProperties;
use orderflow_service::{
    broker::{Connector, Message, PublishError, Publisher, names},
    config::{BrokerConfig, Source},
};
use orderflow_tests::{DECLINED, Shop, VISA};
use orderflow_worker::roster;
use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rights::{broker_as, make_users};

/// Narrows what the payment service's user may publish to routing keys that match this expression.
async fn let_payment_publish_only(shop: &Shop, keys: &str) {
    let narrow = json!({ "exchange": names::EVENTS, "write": keys, "read": "^$" });
    shop.manage_with(Method::PUT, "topic-permissions/{vhost}/orderflow-payment", &narrow).await;
}

/// The refusal must be recognised although thousands of messages are being sent: lapin answers those that come too late
/// with the channel's state, not with RabbitMQ's reason.
#[tokio::test(flavor = "multi_thread")]
async fn refused_message_is_recognised_among_thousands() {
    const ALLOWED: usize = 3_000;
    let shop = Shop::open().await;
    make_users(&shop).await;
    // No queue is bound to it, so these messages end up in `orders.unrouted`.
    let_payment_publish_only(&shop, "^payment\\.something-new$").await;
    let settings: Source = once(("AMQP_URL".to_owned(), broker_as(&shop, "payment"))).collect();
    let (config, stop) = (BrokerConfig::read(&settings).expect("a broker"), CancellationToken::new());
    let publisher = Publisher::start(Connector::new(&config, "a test"), stop.clone());
    let message = |key: &str| Message {
        exchange: names::EVENTS.to_owned(),
        routing_key: key.to_owned(),
        properties: BasicProperties::default(),
        body: vec![b' '; 2_000],
    };
    let publish = async |messages: Vec<Message>| {
        publisher.connected().await;
        join_all(messages.into_iter().map(|message| publisher.publish(message))).await
    };
    let allowed = std::iter::repeat_n(message("payment.something-new"), ALLOWED);
    let all: Vec<Message> = once(message("payment.completed")).chain(allowed).collect();
    // Those that were in flight are lost together. Then one message of each kind goes alone.
    publish(all.clone()).await;
    let outcomes = publish(all).await;
    let failed: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!(failed, [(0, &Err(PublishError::Lost))], "only the refused message");
    let again = publish(vec![message("payment.completed")]).await;
    assert_eq!(again, [Err(PublishError::Forbidden)]);
    stop.cancel();
}

/// An event type that RabbitMQ refuses waits in the outbox, and the process still publishes all others, although each
/// refusal closes the channel that they share.
#[tokio::test(flavor = "multi_thread")]
async fn event_type_without_publish_rights_waits_and_all_others_are_published() {
    let mut shop = Shop::open().await;
    make_users(&shop).await;
    let_payment_publish_only(&shop, "^payment\\.failed$").await;
    let web = shop.start_web().await;
    for service in roster().names() {
        let url = broker_as(&shop, service);
        shop.start_worker_with(&[&format!("{service}.*")], &[("AMQP_URL", &url)]).await;
    }
    let payment = shop.workers().len()
        - 1
        - roster().names().iter().rev().position(|name| *name == "payment").expect("it is one");
    let paid = web.orders(20, "MUG-BLUE", VISA).await;
    web.orders(10, "MUG-BLUE", DECLINED).await;
    shop.until_orders("payment_failed", 10).await;
    shop.workers()[payment].until_logged("may not publish this").await;
    // Messages that are in flight together with a refused one are published later, and nothing is lost.
    web.orders(10, "MUG-BLUE", DECLINED).await;
    shop.until_orders("payment_failed", 20).await;
    shop.until_unpublished(20).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.outbox WHERE event <> 'payment.completed'").await, 0);
    let log = shop.workers()[payment].log();
    let broke = log.iter().filter(|line| line.contains("the publishing connection to RabbitMQ broke")).count();
    assert!(broke <= 3, "{broke} times: {log:#?}");

    make_users(&shop).await;
    shop.workers().remove(payment).stop().await;
    shop.execute("UPDATE messaging.outbox SET available_at = now()").await;
    shop.start_worker_with(&["payment.*"], &[("AMQP_URL", &broker_as(&shop, "payment"))]).await;
    for order in &paid {
        web.until_status(order, "shipped").await;
    }
    shop.close().await;
}
