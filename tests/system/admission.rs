//! When orders are refused: the database is unavailable, the outbox is over its limits, or a client exceeds the rate
//! limit.

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
async fn front_end_without_a_database_starts_and_refuses_orders() {
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
    // Errors in the request itself are still reported.
    assert_eq!(web.place("short", &order).await.status, StatusCode::BAD_REQUEST);
    let line = child.until_logged("DATABASE_URL").await;
    assert!(line.contains("cannot be reached") && line.contains("WARN"), "what to do: {line}");
    child.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_while_the_outbox_is_too_long_or_too_old() {
    let mut shop = Shop::open().await;
    let broker = format!("amqp://orderflow-web:hushhush@{NOWHERE}/orderflow");
    let start = async |limit: (&str, &str)| {
        let settings = with(shop.settings("orderflow-web"), &[("AMQP_URL", &broker), limit]);
        let mut child = Child::start("orderflow", &["serve"], &settings);
        let web = Web::new(child.address().await);
        until("the front end has a database connection", async || {
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
        // The front end also refuses orders until it has first checked the outbox.
        if accepted.is_empty() {
            return Err(0);
        }
        refusal = Some(answer);
        Ok(())
    })
    .await;
    refused(&refusal.expect("it was refused"), 503, "overloaded");
    assert!(accepted.len() > 5, "only {} were accepted", accepted.len());
    let count = i64::try_from(accepted.len()).expect("few");
    for table in ["orders.orders", "orders.idempotency_keys", "messaging.outbox"] {
        assert_eq!(shop.number(&format!("SELECT count(*) FROM {table}")).await, count, "{table}");
    }
    // The front end is still ready: orders can be read, and invalid ones get their errors.
    assert_eq!(web.status(&accepted[0]).await, "pending");
    assert_eq!(web.place(&key(), &body("MUG-BLUE", 0, VISA)).await.status, StatusCode::UNPROCESSABLE_ENTITY);

    // The other limit: here the same outbox is short enough but too old.
    let (age_child, old) = start(("ADMISSION_MAX_OUTBOX_AGE", "1ms")).await;
    until("the age of the outbox is known", async || {
        let answer = old.place(&key(), &order).await;
        if answer.body["type"] == "/problems/overloaded" { Ok(()) } else { Err(answer) }
    })
    .await;
    refused(&old.place(&key(), &order).await, 503, "overloaded");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, count);

    // A worker's relay empties the outbox, and orders are accepted again.
    shop.start_worker(&[]).await;
    for order in &accepted {
        web.until_status(order, "shipped").await;
    }
    shop.until_published().await;
    until("orders are accepted again", async || {
        let answer = web.place(&key(), &order).await;
        if answer.status == StatusCode::ACCEPTED { Ok(()) } else { Err(answer) }
    })
    .await;
    rows_child.stop().await;
    age_child.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_is_per_client_and_only_trusted_proxies_name_clients() {
    let mut shop = Shop::open().await;
    let direct = shop.start_web_with(&[("RATE_LIMIT", "2")]).await;
    let proxied = shop.start_web_with(&[("RATE_LIMIT", "2"), ("TRUSTED_PROXIES", "192.0.2.7, 127.0.0.0/8")]).await;
    let open = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = body("MUG-BLUE", 1, VISA).to_string();
    let place = async |web: &Web, forwarded: &str| {
        let key = key();
        let headers =
            [("idempotency-key", key.as_str()), ("content-type", "application/json"), ("x-forwarded-for", forwarded)];
        web.send(reqwest::Method::POST, "/orders", &headers, Some(order.clone().into_bytes())).await
    };
    // Without trusted proxies the header does not matter: it is one client.
    for forwarded in ["203.0.113.1", "203.0.113.2"] {
        taken(&place(&direct, forwarded).await);
    }
    refused(&place(&direct, "203.0.113.3").await, 429, "too-many-requests");
    // One warning for all requests that the header is ignored.
    shop.webs()[0].until_logged("X-Forwarded-For is ignored").await;
    let said = shop.webs()[0].log().iter().filter(|line| line.contains("X-Forwarded-For is ignored")).count();
    assert_eq!(said, 1);
    assert_eq!(direct.get("/products", &[]).await.status, StatusCode::OK, "only orders are counted");

    // Behind the proxy each client has its own limit. Addresses that a client itself put before its own do not count.
    for _ in 0..2 {
        taken(&place(&proxied, "203.0.113.1:4711").await);
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

/// The default admits thirty orders, enough for an office behind one address, then answers 429 with the time to wait.
/// Before, there was no default limit, and forty orders in a second caused eighty mails to one address.
#[tokio::test(flavor = "multi_thread")]
async fn default_limits_admit_thirty_orders_of_a_client_and_five_mails_to_an_address() {
    let mut shop = Shop::open().await;
    // An empty value counts as not set.
    let web = shop.start_web_with(&[("RATE_LIMIT", "")]).await;
    shop.start_worker_with(&[], &[("MAIL_LIMIT", "")]).await;
    let order = body("MUG-BLUE", 1, VISA);
    let answers = futures::future::join_all((0..40).map(async |_| web.place(&key(), &order).await)).await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).collect();
    // One more is accepted every two seconds, so a slow run accepts a few more.
    assert!((30..=35).contains(&accepted.len()), "{}", accepted.len());
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::ACCEPTED) {
        refused(answer, 429, "too-many-requests");
    }

    // Every order ships and its customer gets that mail; only mails about received orders are held back.
    shop.until_settled().await;
    shop.until_quiet().await;
    let mails = async |kind: &str, state: &str| {
        let query = format!("SELECT count(*) FROM email.mails WHERE kind = '{kind}' AND {state} IS NOT NULL");
        usize::try_from(shop.number(&query).await).expect("a number")
    };
    let (received, held_back) = (mails("received", "sent_at").await, mails("received", "held_back_at").await);
    assert_eq!(received + held_back, accepted.len());
    // Five, and a few more if a worker has two batches of them in progress concurrently.
    assert!((5..=15).contains(&received), "{received}");
    assert_eq!((mails("shipped", "sent_at").await, mails("shipped", "held_back_at").await), (accepted.len(), 0));
    let sent = std::fs::read_dir(shop.mail_directory()).expect("mails").count();
    assert_eq!(sent, received + accepted.len());

    // Neither the audit nor `orderflow why` reports held-back mails as lost, however old they are.
    shop.execute("UPDATE email.mails SET created_at = created_at - interval '2 hours'").await;
    let audit = orderflow_tests::run("orderflow", &["audit"], &shop.operator_settings()).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
    let mut told = false;
    for answer in &accepted {
        let id = answer.accepted().id.to_string();
        let why = orderflow_tests::run("orderflow", &["why", &id], &shop.operator_settings()).await;
        told |= why.out.contains("received held back") && why.out.contains("MAIL_LIMIT");
        assert!(!why.out.contains("never sent"), "{}", why.out);
        if told {
            break;
        }
    }
    assert!(told, "`orderflow why` names a mail that was held back");
    shop.close().await;
}

/// A replayed request gets 202 with the stored answer, since no new order is placed. A client repeats a request after
/// it lost the connection; a 429 would make it place a second order later.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_order_is_answered_without_using_the_rate_limit() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[("RATE_LIMIT", "2")]).await;
    shop.start_worker(&[]).await;
    let (order, first) = (body("MUG-BLUE", 1, VISA), key());
    let placed = web.place(&first, &order).await;
    taken(&placed);
    let again = async || {
        let again = web.place(&first, &order).await;
        taken(&again);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.body["order_id"], placed.body["order_id"]);
    };
    for _ in 0..5 {
        again().await;
    }
    taken(&web.place(&key(), &order).await);
    // The limit is used up: new orders are refused, but the stored answer is still returned.
    let other = key();
    for _ in 0..3 {
        refused(&web.place(&other, &order).await, 429, "too-many-requests");
        again().await;
    }
    // The same key for another order is still an error.
    assert_eq!(web.place(&first, &body("MUG-BLUE", 2, VISA)).await.body["type"], "/problems/idempotency-key-reused");
    // Look-ups are limited too: twenty a minute, of which more than ten are used.
    let mut refusals = 0;
    for _ in 0..20 {
        refusals += u32::from(web.place(&first, &order).await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refusals > 0);
    shop.until_settled().await;
    shop.close().await;
}
