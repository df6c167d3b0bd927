//! One log line of an order leads to all the others, by any of its ids, in every process's log.

use std::collections::BTreeSet;

use orderflow_service::broker::names;
use orderflow_tests::{Order, Shop, body, key, queues, until};
use serde_json::{Map, Value};

use crate::dead_letters::{PAYMENT, STRANGER};

const JSON: (&str, &str) = ("LOG_FORMAT", "json");

/// Also logs a line for each applied event.
const EACH_EVENT: (&str, &str) = ("RUST_LOG", "info,lapin=off,orderflow_worker=debug");

/// The fields of every line about a delivery, as docs/LOGGING.md lists them.
const IDS: [&str; 6] = ["order.id", "event.id", "correlation.id", "trace.id", "queue", "attempt"];

/// Parses the lines: each must be one JSON object, without duplicate names.
fn read(log: &[String]) -> Vec<Map<String, Value>> {
    log.iter()
        .map(|line| {
            let read: Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for name in read.keys() {
                assert_eq!(line.matches(&format!("\"{name}\":")).count(), 1, "{name} occurs twice in {line}");
            }
            read
        })
        .collect()
}

fn text<'a>(line: &'a Map<String, Value>, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

/// Returns the lines that contain this order's id in any field.
fn of_order(log: &[String], order: &Order) -> Vec<Map<String, Value>> {
    let id = order.id.to_string();
    read(log).into_iter().filter(|line| line.values().any(|value| value.as_str() == Some(&id))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_an_order_names_it_and_its_trace_in_every_process() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[JSON]).await;
    shop.start_worker_with(&[], &[JSON, EACH_EVENT]).await;
    let order = web.place(&key(), &body("MUG-BLUE", 1, "pm_card_flaky")).await.accepted();
    web.until_status(&order, "shipped").await;
    shop.until_quiet().await;
    let shipped = queues::EMAIL_SHIPMENT_CREATED.queue();
    shop.workers()[0].until_logged(&format!("\"queue\":\"{shipped}\"")).await;

    let worker = of_order(&shop.workers()[0].log(), &order);
    for line in &worker {
        for id in IDS {
            assert!(line.contains_key(id), "no {id} in {line:?}");
        }
    }
    let failed: Vec<_> = worker.iter().filter(|line| text(line, "level") == "WARN").collect();
    let attempts: Vec<_> = failed.iter().map(|line| line["attempt"].as_u64()).collect();
    assert_eq!(attempts, [Some(1), Some(2)], "one line for each failure: {failed:#?}");
    for line in failed {
        assert_eq!(text(line, "queue"), PAYMENT.queue());
        assert!(!text(line, "reason").is_empty());
    }
    let applied: BTreeSet<_> = worker
        .iter()
        .filter(|line| text(line, "message") == "an event is applied")
        .map(|line| text(line, "queue"))
        .collect();
    for subscription in [PAYMENT, queues::INVENTORY_PAYMENT_COMPLETED, queues::EMAIL_ORDER_CREATED] {
        assert!(applied.contains(subscription.queue().as_str()), "{subscription} in {applied:?}");
    }

    let web_log = of_order(&shop.webs()[0].log(), &order);
    let placed = web_log.iter().find(|line| text(line, "route") == "/orders").expect("its request is logged");
    for line in &worker {
        assert_eq!(text(line, "trace.id"), text(placed, "trace.id"));
        assert_eq!(text(line, "correlation.id"), text(placed, "request.id"));
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_is_logged_in_one_line_with_its_ids_and_reason() {
    let mut shop = Shop::open().await;
    shop.start_worker_with(&[], &[JSON]).await;
    let probe = shop.probe().await;
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"no event").await;
    probe.until_dead(PAYMENT, 2).await;
    // A worker logs the line only once the dead letter is safe.
    let worker = &shop.workers()[0];
    let mut errors = Vec::new();
    until("both are logged", async || {
        errors = read(&worker.log());
        errors.retain(|line| text(line, "level") == "ERROR");
        if errors.len() == 2 { Ok(()) } else { Err(errors.len()) }
    })
    .await;
    let stranger: Value = serde_json::from_slice(STRANGER).expect("it is JSON");
    let (known, unknown): (Vec<_>, Vec<_>) = errors.iter().partition(|line| line.contains_key("event.id"));
    let ([known], [unknown]) = (known.as_slice(), unknown.as_slice()) else { panic!("{errors:#?}") };
    assert_eq!(text(known, "order.id"), stranger["subject"].as_str().expect("an id"));
    assert!(text(known, "reason").starts_with("the event log has no such event"));
    assert_eq!((text(unknown, "queue"), unknown["attempt"].as_u64()), (PAYMENT.queue().as_str(), Some(1)));
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}
