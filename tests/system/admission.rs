//! When orders are not taken: no database, too much waiting for the broker, one client too fast.

use orderflow_tests::{Answer, Child, Shop, VISA, Web, body, key, until};
use reqwest::StatusCode;
use serde_json::json;

use crate::commands::{NOWHERE, with};

#[track_caller]
fn refused(answer: &Answer, status: u16, problem: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.body["type"], format!("/problems/{problem}"));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let seconds: u64 = answer.headers["retry-after"].parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{answer:?}");
}

#[track_caller]
fn taken(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_front_end_starts_and_says_that_it_takes_no_orders() {
    let database = format!("postgres://orderflow:hushhush@{NOWHERE}/orderflow");
    let broker = format!("amqp://orderflow-web:hushhush@{NOWHERE}/orderflow");
    let secret = "x".repeat(32);
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("AMQP_URL", broker.as_str()),
        ("TOKEN_SECRET", secret.as_str()),
        ("LISTEN", "127.0.0.1:0"),
        ("NO_COLOR", "1"),
    ];
    let mut child = Child::start("orderflow", &["serve"], &with(Vec::new(), &settings));
    let web = Web::new(child.address().await);
    assert_eq!(web.get("/healthz", &[]).await.status, StatusCode::OK);
    let ready = web.get("/readyz", &[]).await;
    assert_eq!((ready.status.as_u16(), &ready.body["type"]), (503, &json!("/problems/not-ready")));
    let order = body("MUG-BLUE", 1, VISA);
    refused(&web.place(&key(), &order).await, 503, "database-unavailable");
    refused(&web.get("/products", &[]).await, 503, "database-unavailable");
    // What is wrong with the request itself is said all the same.
    assert_eq!(web.place("short", &order).await.status, StatusCode::BAD_REQUEST);
    let line = child.until_logged("DATABASE_URL").await;
    assert!(line.contains("cannot be reached") && line.contains("WARN"), "what to do: {line}");
    child.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_while_too_many_events_wait_for_the_broker_or_for_too_long() {
    let mut shop = Shop::open().await;
    let broker = format!("amqp://orderflow-web:hushhush@{NOWHERE}/orderflow");
    let start = async |limit: (&str, &str)| {
        let settings = with(shop.settings("orderflow-web"), &[("AMQP_URL", &broker), limit]);
        let mut child = Child::start("orderflow", &["serve"], &settings);
        let web = Web::new(child.address().await);
        until("the front end has the database", async || {
            let answer = web.get("/readyz", &[]).await;
            if answer.status.is_success() { Ok(()) } else { Err(answer) }
        })
        .await;
        (child, web)
    };
    let (rows_child, web) = start(("ADMISSION_MAX_OUTBOX_ROWS", "5")).await;
    assert_eq!(
        web.get("/readyz", &[]).await.body,
        json!({ "status": "ready", "broker": "degraded", "database": "ok" })
    );
    let order = body("MUG-BLUE", 1, VISA);
    let mut accepted = Vec::new();
    let mut refusal = None;
    until("orders are refused", async || {
        let answer = web.place(&key(), &order).await;
        if answer.status == StatusCode::ACCEPTED {
            accepted.push(answer.accepted());
            return Err(accepted.len());
        }
        // Before its first look at the outbox it is closed too.
        if accepted.is_empty() {
            return Err(0);
        }
        refusal = Some(answer);
        Ok(())
    })
    .await;
    refused(&refusal.expect("it was refused"), 503, "overloaded");
    assert!(accepted.len() > 5, "no more than {} were taken", accepted.len());
    let count = i64::try_from(accepted.len()).expect("few");
    for table in ["orders.orders", "orders.idempotency_keys", "messaging.outbox"] {
        assert_eq!(shop.number(&format!("SELECT count(*) FROM {table}")).await, count, "{table}");
    }
    // Still ready: who is waiting can be seen, and what is invalid is said.
    assert_eq!(web.status(&accepted[0]).await, "pending");
    assert_eq!(web.place(&key(), &body("MUG-BLUE", 0, VISA)).await.status, StatusCode::UNPROCESSABLE_ENTITY);

    // The other limit: the same outbox is short enough here, and too old.
    let (age_child, old) = start(("ADMISSION_MAX_OUTBOX_AGE", "1ms")).await;
    until("the age of the outbox is known", async || {
        let answer = old.place(&key(), &order).await;
        if answer.body["type"] == "/problems/overloaded" { Ok(()) } else { Err(answer) }
    })
    .await;
    refused(&old.place(&key(), &order).await, 503, "overloaded");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, count);

    // A worker's relay brings them away, and orders are taken again.
    shop.start_worker(&[]).await;
    for order in &accepted {
        web.until_status(order, "shipped").await;
    }
    until("the outbox is empty", async || {
        let rows = shop.number("SELECT count(*) FROM messaging.outbox").await;
        if rows == 0 { Ok(()) } else { Err(rows) }
    })
    .await;
    until("orders are taken again", async || {
        let answer = web.place(&key(), &order).await;
        if answer.status == StatusCode::ACCEPTED { Ok(()) } else { Err(answer) }
    })
    .await;
    rows_child.stop().await;
    age_child.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_too_fast_waits_and_only_a_trusted_proxy_speaks_for_others() {
    let mut shop = Shop::open().await;
    let direct = shop.start_web_with(&[("RATE_LIMIT", "2")]).await;
    let proxied = shop.start_web_with(&[("RATE_LIMIT", "2"), ("TRUSTED_PROXIES", "192.0.2.7, 127.0.0.1")]).await;
    let open = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = body("MUG-BLUE", 1, VISA).to_string();
    let place = async |web: &Web, forwarded: &str| {
        let key = key();
        let headers =
            [("idempotency-key", key.as_str()), ("content-type", "application/json"), ("x-forwarded-for", forwarded)];
        web.send(reqwest::Method::POST, "/orders", &headers, Some(order.clone().into_bytes())).await
    };
    // Whatever such a header says, it is one client.
    for forwarded in ["203.0.113.1", "203.0.113.2"] {
        taken(&place(&direct, forwarded).await);
    }
    refused(&place(&direct, "203.0.113.3").await, 429, "too-many-requests");
    assert_eq!(direct.get("/products", &[]).await.status, StatusCode::OK, "only orders are counted");

    // From the proxy: each client has its own measure, and what a client wrote before itself does not count.
    for _ in 0..2 {
        taken(&place(&proxied, "203.0.113.1").await);
        taken(&place(&proxied, "203.0.113.2, 192.0.2.7").await);
    }
    for spent in ["203.0.113.1", "198.51.100.9, 203.0.113.1", "203.0.113.2", "198.51.100.9, 203.0.113.2, 192.0.2.7"] {
        refused(&place(&proxied, spent).await, 429, "too-many-requests");
    }
    taken(&place(&proxied, "203.0.113.3").await);
    // No limit unless one is set.
    for _ in 0..10 {
        taken(&place(&open, "203.0.113.1").await);
    }
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 2 + 4 + 1 + 10);
    shop.close().await;
}
