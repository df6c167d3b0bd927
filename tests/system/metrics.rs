//! The metrics of processes match what happened.

use std::collections::BTreeSet;

use orderflow_tests::{DECLINED, Scrape, Shop, VISA, queues, run, until};
use reqwest::Method;

const FLAKY: &str = "pm_card_flaky";

async fn web(shop: &mut Shop) -> Scrape {
    Scrape::of(shop.webs()[0].logged_address("at").await).await
}

async fn worker(shop: &mut Shop) -> Scrape {
    Scrape::of(shop.workers()[0].address().await).await
}

/// Waits until the worker's metric has this value.
async fn until_worker(shop: &mut Shop, what: &str, name: &str, labels: &[(&str, &str)], wanted: f64) -> Scrape {
    let mut last = None;
    until(what, async || {
        let scrape = worker(shop).await;
        let found = scrape.sum(name, labels);
        last = Some(scrape);
        if (found - wanted).abs() < f64::EPSILON { Ok(()) } else { Err(found) }
    })
    .await;
    last.expect("the metrics were read")
}

#[tokio::test(flavor = "multi_thread")]
async fn front_ends_and_workers_count_orders() {
    let mut shop = Shop::open().await;
    let front = shop.start_web().await;
    shop.start_worker(&[]).await;
    front.orders(3, "MUG-BLUE", VISA).await;
    front.order("MUG-BLUE", 1, DECLINED).await;
    front.get("/no/such/path", &[]).await;
    front.send(Method::POST, "/orders", &[], None).await;
    shop.until_quiet().await;

    let seen = web(&mut shop).await;
    assert_eq!(seen.sum("orderflow_orders_accepted_total", &[]), 4.0);
    assert_eq!(seen.sum("orderflow_orders_rejected_total", &[("reason", "idempotency-key-invalid")]), 1.0);
    let posts = [("http_request_method", "POST"), ("http_route", "/orders"), ("http_response_status_code", "202")];
    assert_eq!(seen.sum("http_server_request_duration_seconds_count", &posts), 4.0);
    let unknown = [("http_route", "unknown"), ("http_response_status_code", "404")];
    assert_eq!(seen.sum("http_server_request_duration_seconds_count", &unknown), 1.0);
    assert_eq!(seen.sum("orderflow_admission_open", &[]), 1.0);
    assert!(seen.sum("orderflow_database_connections", &[("state", "max")]) > 0.0);

    let payment = [("queue", "payment.order-created")];
    let recorded = [("queue", "payment.order-created"), ("outcome", "recorded")];
    let four = "the payment queue has settled four deliveries";
    let seen = until_worker(&mut shop, four, "orderflow_queue_processing_seconds_count", &payment, 4.0).await;
    assert_eq!(seen.sum("orderflow_queue_settled_total", &recorded), 4.0);
    for name in ["deliveries_total", "lag_seconds_count", "step_seconds_count", "batch_events_sum"] {
        assert_eq!(seen.sum(&format!("orderflow_queue_{name}"), &payment), 4.0, "{name}");
    }
    assert_eq!(seen.sum("orderflow_queue_in_hand", &payment), 0.0);
    assert_eq!(seen.sum("orderflow_queue_consumed", &payment), 1.0);
    assert_eq!(seen.sum("orderflow_queue_slots", &payment), 512.0, "PREFETCH");
    assert_eq!(seen.sum("orderflow_order_settled_seconds_count", &[("status", "shipped")]), 3.0);
    assert_eq!(seen.sum("orderflow_order_settled_seconds_count", &[("status", "payment_failed")]), 1.0);
    assert_eq!(seen.sum("orderflow_provider_available", &[("provider", "payment")]), 1.0);
    assert_eq!(seen.sum("orderflow_provider_call_seconds_count", &[("provider", "payment")]), 4.0);
    assert!(
        seen.sum("orderflow_publish_seconds_count", &[("outcome", "confirmed")]) >= 9.0,
        "the events that follow are published"
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_and_dead_letters_are_counted_by_tier_and_reason() {
    let mut shop = Shop::open().await;
    let front = shop.start_web().await;
    shop.start_worker(&[]).await;
    front.order("MUG-BLUE", 1, FLAKY).await;
    shop.until_orders("shipped", 1).await;
    let queue = ("queue", "payment.order-created");
    let seen = worker(&mut shop).await;
    for tier in ["200ms", "1s"] {
        assert_eq!(seen.sum("orderflow_queue_retries_total", &[queue, ("tier", tier)]), 1.0, "{tier}");
    }
    assert_eq!(
        seen.sum("orderflow_queue_lag_seconds_count", &[queue]),
        1.0,
        "the delay of a retry does not count as lag"
    );
    assert_eq!(seen.sum("orderflow_provider_call_seconds_count", &[("outcome", "passing")]), 2.0);

    let probe = shop.probe().await;
    probe.publish("", "payment.order-created", b"no event").await;
    let rejected = [queue, ("reason", "rejected")];
    let seen =
        until_worker(&mut shop, "the message is dead-lettered", "orderflow_queue_dead_letters_total", &rejected, 1.0)
            .await;
    assert_eq!(seen.sum("orderflow_queue_settled_total", &[queue, ("outcome", "dead_lettered")]), 1.0);
    assert_eq!(seen.sum("orderflow_queue_retries_total", &[queue]), 2.0);
    shop.until_quiet().await;
    shop.close_with_dead_letters(&[(queues::PAYMENT_ORDER_CREATED, 1)]).await;
}

/// An audit has ended by the time that Prometheus scrapes. So a scheduled audit records its result with `--record`,
/// and front ends export it.
#[tokio::test(flavor = "multi_thread")]
async fn front_ends_export_the_result_of_a_recorded_audit() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    let seen = web(&mut shop).await;
    let told = |seen: &Scrape| seen.samples().iter().any(|sample| sample.name == "orderflow_audit_violations");
    assert!(!told(&seen), "without an audit, a value of 0 would report a sound shop");
    let orphan = "INSERT INTO messaging.event_log
        (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
        VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'order.created', '/orderflow/web', now(), gen_random_uuid(), '{}')";
    shop.execute(orphan).await;
    let audited = run("orderflow", &["audit", "--record"], &shop.operator_settings()).await;
    assert_eq!(audited.code, Some(1), "{audited:?}");
    let found = shop.number("SELECT violations FROM messaging.audits").await;
    assert!(found > 0);
    shop.execute("DELETE FROM messaging.event_log").await;
    assert_eq!(run("orderflow", &["audit"], &shop.operator_settings()).await.code, Some(0));
    assert_eq!(shop.number("SELECT count(*) FROM messaging.audits").await, 1, "without --record an audit only reads");
    // A front end reads the result when it starts, and every half minute.
    shop.start_web().await;
    until("the front end exports the violations", async || {
        let seen = Scrape::of(shop.webs()[1].logged_address("at").await).await;
        let told = seen.sum("orderflow_audit_violations", &[]);
        let expected = f64::from(i32::try_from(found).expect("not that many"));
        if (told - expected).abs() < f64::EPSILON { Ok(()) } else { Err(told) }
    })
    .await;
    let seen = Scrape::of(shop.webs()[1].logged_address("at").await).await;
    assert!(seen.sum("orderflow_audit_end_time_seconds", &[]) > 1.7e9);
    for taken in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(seen.sum(taken, &[]) > 0.0, "{taken}");
    }
    shop.close().await;
}

/// Each series costs memory here and in Prometheus. So their number must not depend on what customers send or on how
/// many there are.
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_series_does_not_grow_with_orders_and_paths() {
    let mut shop = Shop::open().await;
    let front = shop.start_web().await;
    shop.start_worker(&[]).await;
    let series = |scrape: &Scrape| -> BTreeSet<String> {
        scrape.samples().iter().map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
    };
    let mut sizes = Vec::new();
    for round in 0..2 {
        front.orders(5, "MUG-BLUE", VISA).await;
        for number in 0..20 {
            front.get(&format!("/made/up/{round}/{number}"), &[]).await;
            front.send(Method::POST, &format!("/orders/{number}"), &[], None).await;
        }
        shop.until_quiet().await;
        let (of_web, of_worker) = (series(&web(&mut shop).await), series(&worker(&mut shop).await));
        sizes.push((of_web.len(), of_worker.len()));
    }
    assert_eq!(sizes[0], sizes[1]);
    // 24 queues, each with four histograms (20 buckets, sum and count) and a few other series.
    assert!(sizes[1].0 < 300 && sizes[1].1 < 3_000, "{sizes:?}");
    shop.close().await;
}
