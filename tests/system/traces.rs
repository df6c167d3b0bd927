//! One order is one trace, whatever happens to it, and tracing delays no order.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use orderflow_tests::{Collector, Shop, Traced, VISA, body, key, until};
use reqwest::Method;
use tokio::net::TcpListener;
use url::Url;

use crate::dead_letters::{PAYMENT, break_payments, dlq, repair_payments, until_number};

const FLAKY: &str = "pm_card_flaky";

/// The example of the W3C standard for a client's `traceparent`.
const CLIENTS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Returns settings that trace everything of a process.
fn traced(endpoint: &Url) -> [(&str, &str); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_TRACES_SAMPLER_ARG", "1")]
}

/// Returns all spans of the one trace that contains this order's id.
fn of_order(seen: &[Traced], order: &str) -> Vec<Traced> {
    let traces: BTreeSet<&str> = seen
        .iter()
        .filter(|step| step.attributes.get("order.id").is_some_and(|id| id == order))
        .map(|step| step.trace.as_str())
        .collect();
    assert_eq!(traces.len(), 1, "one order, one trace");
    seen.iter().filter(|step| traces.contains(step.trace.as_str())).cloned().collect()
}

fn count(steps: &[Traced], name: &str) -> usize {
    steps.iter().filter(|step| step.name == name).count()
}

/// Waits until the collector has this many spans with this name.
async fn until_seen(collector: &Collector, name: &str, wanted: usize) {
    until(&format!("{wanted} spans {name:?} are sent"), async || {
        let found = count(&collector.seen(), name);
        if found >= wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Returns the order's spans once every parent has arrived, and checks that only one span has no parent. A span is
/// sent when it ends, possibly before its parent.
async fn whole_trace(collector: &Collector, order: &str) -> Vec<Traced> {
    let mut whole = Vec::new();
    until("every span's parent has arrived", async || {
        let steps = of_order(&collector.seen(), order);
        let known: BTreeSet<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        let later = steps.iter().filter(|step| !step.parent.is_empty());
        let lost: Vec<_> = later.filter(|step| !known.contains(step.parent.as_str())).cloned().collect();
        if !lost.is_empty() {
            return Err(lost);
        }
        whole = steps;
        Ok(())
    })
    .await;
    let firsts: Vec<_> = whole.iter().filter(|step| step.parent.is_empty()).map(|step| step.name.as_str()).collect();
    assert_eq!(firsts, ["POST /orders"]);
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_from_its_request_to_its_last_mail() {
    let collector = Collector::start();
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&traced(&collector.endpoint)).await;
    shop.start_worker_with(&[], &traced(&collector.endpoint)).await;
    let (key, order) = (key(), serde_json::to_vec(&body("MUG-BLUE", 1, VISA)).expect("JSON"));
    let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json"), ("traceparent", CLIENTS)];
    let order = web.send(Method::POST, "/orders", &headers, Some(order)).await.accepted();
    web.until_status(&order, "shipped").await;
    shop.until_quiet().await;
    until_seen(&collector, "process email.shipment-created", 1).await;
    until_seen(&collector, "publish orders.events", 4).await;

    let steps = whole_trace(&collector, &order.id.to_string()).await;
    for subscription in ["payment.order-created", "inventory.payment-completed", "shipping.inventory-reserved"] {
        assert_eq!(count(&steps, &format!("process {subscription}")), 1, "{subscription}");
    }
    assert_eq!(count(&steps, "publish orders.events"), 4);
    assert_eq!(count(&steps, "store order"), 1);
    let mut calls: Vec<_> = steps.iter().filter_map(|step| step.attributes.get("peer.service")).collect();
    calls.sort_unstable();
    assert_eq!(calls, ["carrier", "mail", "mail", "payment"]);
    assert!(steps.iter().all(|step| !step.failed), "{steps:?}");
    let services: BTreeSet<_> = steps.iter().map(|step| step.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["orderflow", "orderflow-worker"]));

    let first = steps.iter().find(|step| step.parent.is_empty()).expect("the trace has a root");
    assert_eq!(first.attributes["order.id"], order.id.to_string(), "a search for the order finds the root");
    assert_ne!(first.trace, "4bf92f3577b34da6a3ce929d0e0e4736", "a client does not choose the trace");
    assert_eq!(first.links, BTreeSet::from(["00f067aa0ba902b7".to_owned()]), "the client's trace is linked");
    let charged = steps.iter().find(|step| step.name == "process payment.order-created").expect("counted");
    for (name, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "payment.order-created"),
        ("orderflow.attempt", "1"),
    ] {
        assert_eq!(charged.attributes.get(name).map(String::as_str), Some(value), "{name}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_spans_of_the_orders_trace() {
    let collector = Collector::start();
    let mut shop = Shop::open().await;
    let settings = traced(&collector.endpoint);
    let web = shop.start_web_with(&settings).await;
    let order = web.order("MUG-BLUE", 1, FLAKY).await;
    shop.start_worker_with(&[], &settings).await;
    web.until_status(&order, "shipped").await;
    shop.until_quiet().await;
    until_seen(&collector, "settle payment.order-created", 2).await;
    until_seen(&collector, "process payment.order-created", 3).await;
    let steps = whole_trace(&collector, &order.id.to_string()).await;
    let attempts: BTreeSet<_> = steps
        .iter()
        .filter(|step| step.name == "process payment.order-created")
        .filter_map(|step| step.attributes.get("orderflow.attempt").cloned())
        .collect();
    assert_eq!(attempts, BTreeSet::from(["1", "2", "3"].map(str::to_owned)));
    let settled: Vec<_> = steps.iter().filter(|step| step.name == "settle payment.order-created").collect();
    assert_eq!(settled.len(), 2, "{settled:?}");
    for (step, after) in settled.iter().zip(["0.2", "1.0"]) {
        assert_eq!(step.attributes["orderflow.outcome"], "retried");
        assert!(step.attributes["orderflow.retry_after_seconds"].contains(after), "{step:?}");
        assert!(!step.failed, "a span is not failed if a later attempt ships the order");
    }
    let failed: Vec<_> = steps.iter().filter(|step| step.failed).map(|step| step.name.as_str()).collect();
    assert_eq!(failed, ["call payment"; 2]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_dead_letter_continues_its_orders_trace() {
    let collector = Collector::start();
    let mut shop = Shop::open().await;
    let settings = traced(&collector.endpoint);
    let web = shop.start_web_with(&settings).await;
    break_payments(&shop).await;
    shop.start_worker_with(&[], &settings).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let probe = shop.probe().await;
    probe.until_dead(PAYMENT, 1).await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters").await;
    repair_payments(&shop).await;
    let replayed = dlq(&shop, &["replay", "--queue", &PAYMENT.queue(), "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    web.until_status(&order, "shipped").await;
    shop.until_quiet().await;
    until_seen(&collector, "process email.shipment-created", 1).await;
    until_seen(&collector, "publish orders.events", 4).await;
    let steps = whole_trace(&collector, &order.id.to_string()).await;
    let settled = steps.iter().filter(|step| step.name == "settle payment.order-created");
    let attempts: Vec<_> = settled.filter_map(|step| step.attributes.get("orderflow.attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3"], "the last attempt leads into the dead-letter queue");
    let dead: Vec<_> = steps.iter().filter(|step| step.failed).map(|step| step.name.as_str()).collect();
    assert_eq!(dead, ["settle payment.order-created"]);
    let tries = steps.iter().filter(|step| step.name == "process payment.order-created");
    let tries: Vec<_> = tries.filter_map(|step| step.attributes.get("orderflow.attempt")).collect();
    assert_eq!(tries, ["1", "2", "3", "1"], "a replayed message starts at attempt 1");
    shop.close().await;
}

/// A collector that accepts connections and never answers is the worst case: nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_or_missing_collector_harms_no_order() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let hanging: Url = format!("http://{}", hangs.local_addr().expect("bound")).parse().expect("a URL");
    let mut connections = Vec::new();
    let taking = tokio::spawn(async move {
        while let Ok((connection, _)) = hangs.accept().await {
            connections.push(connection);
        }
    });
    let nobody: Url = "http://127.0.0.1:1".parse().expect("a URL");
    for endpoint in [hanging, nobody] {
        let mut shop = Shop::open().await;
        let web = shop.start_web_with(&traced(&endpoint)).await;
        shop.start_worker_with(&[], &traced(&endpoint)).await;
        let began = Instant::now();
        web.orders(50, "MUG-BLUE", VISA).await;
        shop.until_orders("shipped", 50).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        shop.webs()[0].until_logged("spans cannot be sent; orders continue without traces").await;
        // The programs also stop within the contract's 30 s.
        shop.close().await;
    }
    taking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_span_of_an_unsampled_order_is_sent() {
    let collector = Collector::start();
    let mut shop = Shop::open().await;
    let none = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let web = shop.start_web_with(&none).await;
    // The placing request decides for the whole order: on its own, this worker would trace every order.
    shop.start_worker_with(&[], &traced(&collector.endpoint)).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "shipped").await;
    let unsampled = "SELECT count(*) FROM messaging.event_log WHERE traceparent LIKE '00-%-00'";
    assert_eq!(shop.number(unsampled).await, 4);
    // A process sends its pending spans when it stops.
    shop.close().await;
    assert_eq!(collector.seen(), []);
}
