//! A library without HTTP places and cancels orders, so that any other channel can follow the same rules as the front
//! end.

use std::time::Duration;

use orderflow_order::{
    cancelling,
    domain::OrderStatus,
    payment_kind::PaymentKind,
    placing::{NotPlaced, Placed, PlacementRequest, Placing, Refused},
};
use orderflow_service::{
    broker::{Connector, Publisher, Relay, Relayed},
    config::{Admission, BrokerConfig, DatabaseConfig, Source},
    store::Database,
};
use orderflow_tests::{Shop, VISA, body, key, until};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Admits everything that a test places.
const WIDE: Admission = Admission { max_outbox_age: Duration::from_secs(600), max_outbox_rows: 1_000 };

/// Starts what is needed to place and cancel orders until `stop`, and waits until orders are accepted.
async fn start(shop: &Shop, stop: &CancellationToken) -> (Placing, Database, Relay) {
    let settings: Source = shop.settings("orderflow-web").into_iter().collect();
    let broker = BrokerConfig::read(&settings).expect("a broker");
    let database = DatabaseConfig::read(&settings).expect("a database");
    let database = Database::new(&database, "a test", 8).expect("a pool");
    let publisher = Publisher::start(Connector::new(&broker, "a test"), stop.clone());
    let relay = Relay::start(Relayed::Everything, database.clone(), publisher, stop.clone());
    let placing = Placing::start(database.clone(), relay.clone(), PaymentKind::Simulated, WIDE, stop);
    until("orders are accepted", async || if placing.is_ready() { Ok(()) } else { Err(()) }).await;
    (placing, database, relay)
}

/// Returns a request from a customer who owns no order.
fn placement<'a>(key: &'a str, body: &'a Value) -> PlacementRequest<'a> {
    PlacementRequest {
        key,
        body,
        shown: None,
        retry_seconds: None,
        owns: &|_| false,
        correlation_id: Uuid::now_v7(),
        traceparent: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_placed_once_and_cancelled_without_http() {
    let mut shop = Shop::open().await;
    let stop = CancellationToken::new();
    let _ends_with_us = stop.clone().drop_guard();
    let (placing, database, relay) = start(&shop, &stop).await;
    let (key, wanted) = (key(), body("MUG-BLUE", 2, VISA));

    // A refusal names every mistake and leaves the key unused.
    let invalid = body("NO-SUCH-MUG", 0, VISA);
    let Err(Refused::Invalid(errors)) = placing.place(placement(&key, &invalid)).await else {
        panic!("it is not valid")
    };
    let errors: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.code)).collect();
    assert_eq!(errors, [("#/items/0/quantity", "out_of_range"), ("#/items/0/sku", "unknown_sku")]);
    let other_total = placing.place(PlacementRequest { shown: Some(1), ..placement(&key, &wanted) }).await;
    assert!(matches!(other_total, Err(Refused::TotalChanged { total: 2998, .. })), "{other_total:?}");
    let mut foreign = wanted.clone();
    foreign["replaces"] = Uuid::now_v7().to_string().into();
    let foreign = placing.place(placement(&key, &foreign)).await;
    assert!(matches!(&foreign, Err(Refused::Invalid(errors)) if errors[0].code == "not_replaceable"), "{foreign:?}");

    let placed = placing.place(placement(&key, &wanted)).await.expect("it is placed");
    assert_eq!((placed.total, placed.currency.as_str(), placed.replayed), (2998, "EUR", false));
    let again = Placed { replayed: true, ..placed.clone() };
    assert_eq!(placing.place(placement(&key, &wanted)).await.expect("it is repeated"), again);
    // The stored answer comes before every refusal, such as a rate limit or a changed total.
    let fast = |key| PlacementRequest { retry_seconds: Some(7), shown: Some(1), ..placement(key, &wanted) };
    assert_eq!(placing.place(fast(&key)).await.expect("it is repeated"), again);
    let new = placing.place(fast("a key of another order")).await;
    assert!(matches!(new, Err(Refused::TooFast { retry_seconds: 7 })), "{new:?}");
    let reused = placing.place(placement(&key, &body("MUG-BLUE", 3, VISA))).await;
    assert!(matches!(reused, Err(Refused::NotPlaced(NotPlaced::KeyReused))), "{reused:?}");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 1);

    let unknown = cancelling::request(&database, &relay, Uuid::now_v7()).await;
    assert!(matches!(unknown, Err(cancelling::Refused::Unknown)), "{unknown:?}");
    for _ in 0..2 {
        cancelling::request(&database, &relay, placed.order_id).await.expect("it is recorded");
    }
    let requested = "SELECT count(*) FROM messaging.event_log WHERE event = 'order.cancel-requested'";
    assert_eq!(shop.number(requested).await, 1);

    // The order then continues like any other. Shipping comes first: the parcel could be booked before the request is
    // handled.
    shop.start_worker(&["shipping.*"]).await;
    until("shipping has handled the request", async || {
        let handled = "SELECT count(*) FROM messaging.inbox WHERE subscription = 'shipping.order-cancel-requested'";
        if shop.number(handled).await == 1 { Ok(()) } else { Err(()) }
    })
    .await;
    shop.start_worker_without(&["shipping.*"], &[]).await;
    shop.until_orders("cancelled", 1).await;
    let shipped = placing.place(placement("the key of another order", &wanted)).await.expect("it is placed");
    shop.until_orders("shipped", 1).await;
    let late = cancelling::request(&database, &relay, shipped.order_id).await;
    assert!(matches!(late, Err(cancelling::Refused::TooLate(OrderStatus::Shipped))), "{late:?}");
    shop.close().await;
}
