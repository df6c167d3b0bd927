//! Orders that do not ship: every step taken for them is undone exactly once, under any race.

use std::{sync::Arc, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use futures::StreamExt as _;
use orderflow_events::{Envelope, InventoryReserved};
use orderflow_service::{
    call_guard::{CallGuard, Guarded},
    config::GuardConfig,
    handler::Handler as _,
};
use orderflow_tests::{Answer, DECLINED, Order, Shop, VISA, Web, body, key, until};
use orderflow_worker::{
    providers::SimulatedCarrier,
    services::shipping::{ShipOrder, Task},
};
use reqwest::StatusCode;

/// The queues that take an order forward; tests start their consumers late.
const FORWARD: [&str; 3] = ["payment.order-created", "inventory.payment-completed", "shipping.inventory-reserved"];

/// Returns the task that the shipping service prepares for a reserved order.
async fn prepared(shop: &Shop, order: &Order) -> Task {
    let mut event: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/events/orders.inventory-reserved.v1.json")).expect("JSON");
    event["subject"] = order.id.to_string().into();
    let event: Envelope<InventoryReserved> = Envelope::decode(event.to_string().as_bytes()).expect("an event");
    let config = GuardConfig { time_out: Duration::from_secs(1), concurrency: 1 };
    let line = CallGuard::new("carrier", "carrier", config);
    let shipping = ShipOrder::new(Guarded::by(line, Arc::new(SimulatedCarrier)));
    let mut tasks = shipping.prepare(&mut shop.database().await, &[event.into()]).await.expect("it can be prepared");
    tasks.pop().expect("one task").expect("no failure")
}

async fn until_one(shop: &Shop, what: &str, query: &str) {
    until(what, async || if shop.number(query).await == 1 { Ok(()) } else { Err(()) }).await;
}

async fn accepts_cancel(web: &Web, order: &Order) {
    let answer = web.cancel(order).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.body["cancel_requested"], true, "{answer:?}");
    assert_eq!(answer.body["order_id"], order.id.to_string());
    // A worker may have advanced the order since the answer.
    let seen = web.get_of(order, "").await;
    assert!(seen.body["version"].as_u64() >= answer.body["version"].as_u64(), "{seen:?} after {answer:?}");
    if seen.body["version"] == answer.body["version"] {
        assert_eq!((&seen.body, &seen.headers["etag"]), (&answer.body, &answer.headers["etag"]));
    }
}

/// Places an order, waits until it has this status, and cancels it.
async fn cancelled_when(web: &Web, status: &str) -> Order {
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, status).await;
    accepts_cancel(web, &order).await;
    web.until_status(&order, "cancelled").await;
    order
}

/// Each order is cancelled before a step whose consumer starts only afterwards and then receives its late event. All
/// orders share a shop, because each consumer that starts late is a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn order_cancelled_before_a_step_is_undone_and_the_late_event_changes_nothing() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let lost = with_a_lost_charge(&shop, &web).await;
    shop.start_worker_without(&FORWARD, &[]).await;
    let uncharged = cancelled_when(&web, "pending").await;
    let expected =
        "order.created order.cancel-requested shipment.cancelled inventory.released payment.voided order.cancelled";
    assert_eq!(web.events(&uncharged).await.join(" "), expected);
    web.until_status(&lost, "cancelled").await;
    shop.start_worker(&FORWARD[..1]).await;
    let unreserved = cancelled_when(&web, "paid").await;
    shop.start_worker(&FORWARD[1..2]).await;
    let unshipped = cancelled_when(&web, "reserved").await;
    // The late forward event finds the order already decided, so shipping does not call the carrier.
    assert!(matches!(prepared(&shop, &unshipped).await, Task::Decided));
    let too_late = cancelled_during_the_call_to_the_carrier(&shop, &web).await;
    shop.start_worker(&FORWARD[2..]).await;
    web.until_status(&too_late, "shipped").await;
    shop.until_quiet().await;

    let of = |order: &Order, query: &str| query.replace("ORDER", &format!("'{}'", order.id));
    for (order, outcome) in [(&uncharged, "never charged"), (&unreserved, "refunded"), (&unshipped, "refunded")] {
        assert_eq!(web.status(order).await, "cancelled");
        let mails =
            "SELECT count(*) FROM email.mails WHERE kind = 'cancelled' AND sent_at IS NOT NULL AND order_id = ORDER";
        assert_eq!(shop.number(&of(order, mails)).await, 1);
        assert_eq!(shop.number(&of(order, REFUNDS)).await, i64::from(outcome == "refunded"), "{outcome}");
    }
    let asked =
        "SELECT count(*) FROM simulator.charges WHERE reference = ORDER AND (outcome <> 'voided' OR requests > 0)";
    assert_eq!(shop.number(&of(&uncharged, asked)).await, 0, "the worker requested a charge");
    let paid = "SELECT count(*) FROM messaging.event_log WHERE event = 'payment.completed' AND order_id = ORDER";
    assert_eq!(shop.number(&of(&lost, paid)).await, 0);
    assert_eq!(shop.number("SELECT amount FROM simulator.refunds WHERE charge_id = 'ch_lost'").await, 1499);
    let moved = "SELECT count(*) FROM inventory.movements WHERE order_id = ORDER";
    assert_eq!(shop.number(&of(&unreserved, moved)).await, 0, "it was reserved");
    let undone = "SELECT sum(quantity) FROM inventory.movements WHERE order_id = ORDER";
    assert_eq!(shop.number(&of(&unshipped, undone)).await, 0);
    let shipment = "SELECT count(*) FROM shipping.shipments WHERE status = 'cancelled' AND order_id = ORDER";
    assert_eq!(shop.number(&of(&unshipped, shipment)).await, 1);
    assert_eq!(web.get_of(&too_late, "").await.body["cancel_requested"], true, "it may still ship");
    assert_eq!(shop.number(&of(&too_late, REFUNDS)).await, 0);
    shop.close().await;
}

/// Counts the refunds of ORDER.
const REFUNDS: &str =
    "SELECT count(*) FROM simulator.refunds JOIN simulator.charges USING (charge_id) WHERE reference = ORDER";

/// Places and cancels an order in the state left by a worker that was killed between the provider's answer and its own
/// commit.
async fn with_a_lost_charge(shop: &Shop, web: &Web) -> Order {
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let charge = format!(
        "INSERT INTO simulator.charges (idempotency_key, charge_id, reference, method, amount, currency, outcome)
         VALUES ('charge-{0}', 'ch_lost', '{0}', 'pm_card_visa', 1499, 'EUR', 'succeeded')",
        order.id
    );
    shop.execute(&charge).await;
    accepts_cancel(web, &order).await;
    order
}

/// Cancels an order in the state left by a worker that was killed during its call to the carrier: the carrier may have
/// the parcel.
async fn cancelled_during_the_call_to_the_carrier(shop: &Shop, web: &Web) -> Order {
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "reserved").await;
    shop.execute(&format!("INSERT INTO shipping.shipments (order_id, status) VALUES ('{}', 'booking')", order.id))
        .await;
    accepts_cancel(web, &order).await;
    let judged = format!(
        "SELECT count(*) FROM messaging.inbox JOIN messaging.event_log USING (event_id)
         WHERE subscription = 'shipping.order-cancel-requested' AND order_id = '{}'",
        order.id
    );
    until_one(shop, "the request is judged", &judged).await;
    order
}

/// A request that waits for the order's lock while the carrier takes the parcel comes too late, and leaves no event.
#[tokio::test(flavor = "multi_thread")]
async fn request_overtaken_by_the_shipment_is_refused_and_not_logged() {
    let mut shop = Shop::open().await;
    let web = Arc::new(shop.start_web().await);
    shop.start_worker(&["payment.*", "inventory.*", "order.*"]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "reserved").await;
    let mut holding = shop.database().await;
    let lock = format!("BEGIN; SELECT FROM orders.orders WHERE id = '{}' FOR UPDATE", order.id);
    holding.batch_execute(&lock).await.expect("it is free");
    let request = tokio::spawn({
        let (web, order) = (Arc::clone(&web), order.clone());
        async move { web.cancel(&order).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'";
    until_one(&shop, "the request waits for the lock", waiting).await;
    shop.start_worker(&["shipping.*", "email.*"]).await;
    let logged = |event: &str| {
        format!("SELECT count(*) FROM messaging.event_log WHERE event = '{event}' AND order_id = '{}'", order.id)
    };
    until_one(&shop, "the parcel is taken", &logged("shipment.created")).await;
    holding.batch_execute("COMMIT").await.expect("the lock is released");
    let answer = request.await.expect("an answer");
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (StatusCode::CONFLICT, &"/problems/order-not-cancellable".into()),
        "{answer:?}"
    );
    web.until_status(&order, "shipped").await;
    assert_eq!(shop.number(&logged("order.cancel-requested")).await, 0);
    drop(web);
    shop.close().await;
}

/// The cases are independent orders, so they share a shop.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_forced_and_late_cancels_have_one_outcome_each() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let repeated = repeated_cancels_are_one_request(&shop, &web).await;
    shop.execute("INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('TEAPOT-1L', 'adjusted', -999999)")
        .await;
    shop.execute("UPDATE inventory.stock SET available = 1 WHERE sku = 'TEAPOT-1L'").await;
    // Both are accepted before either is reserved.
    let last = web.orders(2, "TEAPOT-1L", VISA).await;
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    // A later cancel request gets an answer that matches the outcome.
    let is_cancelled = web.status(&repeated).await == "cancelled";
    let expected = if is_cancelled { StatusCode::ACCEPTED } else { StatusCode::CONFLICT };
    assert_eq!(web.cancel(&repeated).await.status, expected);
    one_of_two_orders_for_the_last_item_ships_and_the_other_is_refunded(&shop, &web, &last).await;
    refused_parcel_releases_stock_and_refunds(&shop, &web).await;
    shipped_or_failed_order_cannot_be_cancelled(&web).await;
    shop.close().await;
}

async fn repeated_cancels_are_one_request(shop: &Shop, web: &Web) -> Order {
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let answers: Vec<_> = futures::stream::iter(0..20).map(|_| web.cancel(&order)).buffer_unordered(4).collect().await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED), "{answers:?}");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log WHERE event = 'order.cancel-requested'").await, 1);
    order
}

async fn one_of_two_orders_for_the_last_item_ships_and_the_other_is_refunded(shop: &Shop, web: &Web, two: &[Order]) {
    let mut ends = [web.status(&two[0]).await, web.status(&two[1]).await];
    ends.sort_unstable();
    assert_eq!(ends, ["cancelled", "shipped"]);
    let refunds = async |order: &Order| shop.number(&REFUNDS.replace("ORDER", &format!("'{}'", order.id))).await;
    assert_eq!(refunds(&two[0]).await + refunds(&two[1]).await, 1);
    let reason = "SELECT count(*) FROM messaging.event_log WHERE event = 'order.cancelled' AND data ->> 'reason' = 'out_of_stock'";
    assert_eq!(shop.number(reason).await, 1);
}

async fn refused_parcel_releases_stock_and_refunds(shop: &Shop, web: &Web) {
    let before = shop.number("SELECT available FROM inventory.stock WHERE sku = 'BATTERY-BULK'").await;
    let order = web.order("BATTERY-BULK", 2, VISA).await;
    web.until_status(&order, "cancelled").await;
    let events = web.events(&order).await;
    let expected = "order.created payment.completed inventory.reserved shipment.failed inventory.released payment.refunded order.cancelled";
    assert_eq!(events.join(" "), expected);
    assert_eq!(web.get_of(&order, "").await.body["cancel_requested"], false);
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'BATTERY-BULK'").await, before);
    let refund = REFUNDS.replace("count(*)", "refunds.amount").replace("ORDER", &format!("'{}'", order.id));
    assert_eq!(shop.number(&refund).await, 2 * 7990);
    shop.until_quiet().await;
    let mails = format!("FROM email.mails WHERE order_id = '{}' AND sent_at IS NOT NULL", order.id);
    assert_eq!(shop.text(&format!("SELECT string_agg(kind, ' ' ORDER BY kind) {mails}")).await, "cancelled received");
}

async fn shipped_or_failed_order_cannot_be_cancelled(web: &Web) {
    let shipped = web.order("MUG-BLUE", 1, VISA).await;
    let declined = web.order("MUG-BLUE", 1, DECLINED).await;
    web.until_status(&shipped, "shipped").await;
    web.until_status(&declined, "payment_failed").await;
    for (order, says) in [(&shipped, "with the carrier"), (&declined, "nothing was charged")] {
        let answer = web.cancel(order).await;
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (StatusCode::CONFLICT, &"/problems/order-not-cancellable".into())
        );
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{answer:?}");
        assert_eq!(web.get_of(order, "").await.body["cancel_requested"], false);
    }
    let foreign = Order { id: shipped.id, token: declined.token.clone() };
    assert_eq!(web.cancel(&foreign).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn refund_with_a_lost_answer_is_not_repeated() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker_without(&["payment.inventory-*"], &[]).await;
    let order = web.order("BATTERY-BULK", 1, VISA).await;
    web.until_status(&order, "cancelling").await;
    // The state left by a worker that was killed between the provider's answer and its own commit.
    let refund = format!(
        "INSERT INTO simulator.refunds (idempotency_key, refund_id, charge_id, amount, currency)
         SELECT 'refund-{}', 're_lost', charge_id, amount, currency FROM simulator.charges",
        order.id
    );
    shop.execute(&refund).await;
    shop.start_worker(&["payment.inventory-*"]).await;
    web.until_status(&order, "cancelled").await;
    let written = "SELECT count(*) FROM payment.payments WHERE status = 'refunded' AND refund_id = 're_lost'";
    assert_eq!((shop.number(written).await, shop.number("SELECT count(*) FROM simulator.refunds").await), (1, 1));
    shop.close().await;
}

/// Places an order as a browser does on a busy machine: after a 503 it retries with the same key.
async fn place_patiently(web: &Web, order: &serde_json::Value) -> Answer {
    let (key, mut answer) = (key(), None);
    until("the order is answered", async || {
        let got = web.place(&key, order).await;
        if got.status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(got);
        }
        answer = Some(got);
        Ok(())
    })
    .await;
    answer.expect("an answer")
}

/// Cancels orders at every moment of their lives, with cards that fail temporarily, stock that runs out and parcels
/// that are refused, on two workers.
async fn cancel_at_any_moment(orders: u64) {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.execute("INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('TEAPOT-1L', 'adjusted', -999970)")
        .await;
    shop.execute("UPDATE inventory.stock SET available = 30 WHERE sku = 'TEAPOT-1L'").await;
    for _ in 0..2 {
        shop.start_worker_with(&[], &[("BATCH_SIZE", "16"), ("PREFETCH", "32")]).await;
    }
    let journeys = (0..orders).map(|turn| {
        let web = &web;
        async move {
            let sku =
                ["MUG-BLUE", "TEAPOT-1L", "COFFEE-250", "BATTERY-BULK"][usize::try_from(turn % 4).expect("small")];
            let card = if turn % 9 == 0 {
                DECLINED
            } else if turn % 11 == 0 {
                "pm_card_flaky"
            } else {
                VISA
            };
            // Once the front end knows that the teapots are sold out, it refuses them immediately.
            let answer = place_patiently(web, &body(sku, 1, card)).await;
            let sold_out = answer.status == StatusCode::UNPROCESSABLE_ENTITY && sku == "TEAPOT-1L";
            let answer = if sold_out { place_patiently(web, &body("MUG-BLUE", 1, card)).await } else { answer };
            let order = answer.accepted();
            // Spread over the order's whole life: some immediately, some after one step, …, some when it is settled.
            let step = turn * 7_919 % 6;
            until("the order is far enough to be cancelled", async || {
                let seen = web.get_of(&order, "").await.body;
                let settled =
                    ["shipped", "payment_failed", "cancelled"].contains(&seen["status"].as_str().unwrap_or(""));
                if settled || seen["version"].as_u64() >= Some(step) { Ok(()) } else { Err(seen) }
            })
            .await;
            tokio::time::sleep(Duration::from_millis(turn * 104_729 % 100)).await;
            (order.clone(), web.cancel(&order).await.status)
        }
    });
    let asked: Vec<_> = futures::stream::iter(journeys).buffer_unordered(32).collect().await;
    shop.until_settled().await;
    let count = async |status: &str| {
        shop.number(&format!("SELECT count(*) FROM orders.orders WHERE status = '{status}'")).await
    };
    let ends = (count("shipped").await, count("cancelled").await, count("payment_failed").await);
    println!("shipped, cancelled, payment_failed: {ends:?}");
    assert_eq!(ends.0 + ends.1 + ends.2, i64::try_from(orders).expect("small"));
    assert!(ends.0 > 20 && ends.1 > 20, "all cancels came too early or all came too late: {ends:?}");
    for (order, status) in asked {
        let end = web.status(&order).await;
        assert!(status == StatusCode::ACCEPTED || status == StatusCode::CONFLICT, "{status}");
        assert!(
            status != StatusCode::CONFLICT || end != "cancelled",
            "order {} is cancelled although the cancel was refused",
            order.id
        );
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_at_any_moment_leave_every_order_shipped_or_undone() {
    cancel_at_any_moment(250).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make test-full` runs it"]
async fn thousand_cancels_at_any_moment_leave_every_order_shipped_or_undone() {
    cancel_at_any_moment(1_000).await;
}
