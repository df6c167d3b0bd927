//! Orders that do not ship: every step taken for them is undone exactly once, under any race.

use std::{sync::Arc, time::Duration};

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

/// Returns the number of sent mails of a kind.
async fn mails(shop: &Shop, kind: &str) -> i64 {
    shop.number(&format!("SELECT count(*) FROM email.mails WHERE kind = '{kind}' AND sent_at IS NOT NULL")).await
}

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

#[tokio::test(flavor = "multi_thread")]
async fn refused_parcel_releases_stock_and_refunds() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let before = shop.number("SELECT available FROM inventory.stock WHERE sku = 'BATTERY-BULK'").await;
    let order = web.order("BATTERY-BULK", 2, VISA).await;
    web.until_status(&order, "cancelled").await;
    let events = web.events(&order).await;
    let expected = "order.created payment.completed inventory.reserved shipment.failed inventory.released payment.refunded order.cancelled";
    assert_eq!(events.join(" "), expected);
    assert_eq!(web.get_of(&order, "").await.body["cancel_requested"], false);
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'BATTERY-BULK'").await, before);
    assert_eq!(shop.number("SELECT amount FROM simulator.refunds").await, 2 * 7990);
    shop.until_quiet().await;
    assert_eq!((mails(&shop, "cancelled").await, mails(&shop, "shipped").await), (1, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orders_for_the_last_item_end_shipped_and_refunded() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.execute("INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('MUG-BLUE', 'adjusted', -999999)")
        .await;
    shop.execute("UPDATE inventory.stock SET available = 1 WHERE sku = 'MUG-BLUE'").await;
    // Both are accepted before either is reserved.
    web.orders(2, "MUG-BLUE", VISA).await;
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders WHERE status = 'shipped'").await, 1);
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders WHERE status = 'cancelled'").await, 1);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.refunds").await, 1);
    let reason = "SELECT count(*) FROM messaging.event_log WHERE event = 'order.cancelled' AND data ->> 'reason' = 'out_of_stock'";
    assert_eq!(shop.number(reason).await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_cancelled_before_its_charge_is_never_charged() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    accepts_cancel(&web, &order).await;
    shop.start_worker_without(&FORWARD, &[]).await;
    web.until_status(&order, "cancelled").await;
    let expected =
        "order.created order.cancel-requested shipment.cancelled inventory.released payment.voided order.cancelled";
    assert_eq!(web.events(&order).await.join(" "), expected);
    // Only now does the payment service receive the order's forward event.
    shop.start_worker(&FORWARD).await;
    shop.until_quiet().await;
    let asked = "SELECT count(*) FROM simulator.charges WHERE outcome <> 'voided' OR requests > 0";
    assert_eq!(shop.number(asked).await, 0, "the worker requested a charge");
    assert_eq!(web.status(&order).await, "cancelled");
    assert_eq!(mails(&shop, "cancelled").await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charge_with_a_lost_answer_is_found_at_the_provider_and_refunded() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    // The state left by a worker that was killed between the provider's answer and its own commit.
    let charge = format!(
        "INSERT INTO simulator.charges (idempotency_key, charge_id, reference, method, amount, currency, outcome)
         VALUES ('charge-{0}', 'ch_lost', '{0}', 'pm_card_visa', 1499, 'EUR', 'succeeded')",
        order.id
    );
    shop.execute(&charge).await;
    accepts_cancel(&web, &order).await;
    shop.start_worker_without(&FORWARD, &[]).await;
    web.until_status(&order, "cancelled").await;
    assert_eq!(shop.number("SELECT amount FROM simulator.refunds WHERE charge_id = 'ch_lost'").await, 1499);
    shop.start_worker(&FORWARD).await;
    shop.until_quiet().await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log WHERE event = 'payment.completed'").await, 0);
    shop.close().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn order_cancelled_before_its_reservation_is_refunded_and_never_reserved() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker_without(&FORWARD[1..], &[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "paid").await;
    accepts_cancel(&web, &order).await;
    web.until_status(&order, "cancelled").await;
    shop.start_worker(&FORWARD[1..]).await;
    shop.until_quiet().await;
    assert_eq!(shop.number("SELECT count(*) FROM inventory.movements WHERE order_id IS NOT NULL").await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.refunds").await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_cancelled_before_its_shipment_is_released_and_refunded() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker_without(&FORWARD[1..], &[]).await;
    shop.start_worker(&["inventory.payment-completed"]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "reserved").await;
    accepts_cancel(&web, &order).await;
    web.until_status(&order, "cancelled").await;
    // The late forward event finds the order already decided, so shipping does not call the carrier.
    assert!(matches!(prepared(&shop, &order).await, Task::Decided));
    shop.start_worker(&["shipping.inventory-reserved"]).await;
    shop.until_quiet().await;
    assert_eq!(shop.number("SELECT count(*) FROM shipping.shipments WHERE status = 'cancelled'").await, 1);
    assert_eq!(shop.number("SELECT sum(quantity) FROM inventory.movements WHERE order_id IS NOT NULL").await, 0);
    assert_eq!(mails(&shop, "cancelled").await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_during_the_call_to_the_carrier_is_too_late() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker_without(&FORWARD[1..], &[]).await;
    shop.start_worker(&["inventory.payment-completed"]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "reserved").await;
    // The state left by a worker that was killed during its call to the carrier: the carrier may have the parcel.
    shop.execute(&format!("INSERT INTO shipping.shipments (order_id, status) VALUES ('{}', 'booking')", order.id))
        .await;
    accepts_cancel(&web, &order).await;
    let judged = "SELECT count(*) FROM messaging.inbox WHERE subscription = 'shipping.order-cancel-requested'";
    until_one(&shop, "the request is judged", judged).await;
    shop.start_worker(&["shipping.inventory-reserved"]).await;
    web.until_status(&order, "shipped").await;
    assert_eq!(web.get_of(&order, "").await.body["cancel_requested"], true, "it may still ship");
    assert_eq!(shop.number("SELECT count(*) FROM simulator.refunds").await, 0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shipped_or_failed_order_cannot_be_cancelled() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
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
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_cancels_are_one_request() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let answers: Vec<_> = futures::stream::iter(0..20).map(|_| web.cancel(&order)).buffer_unordered(4).collect().await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED), "{answers:?}");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log WHERE event = 'order.cancel-requested'").await, 1);
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    // A later cancel request gets an answer that matches the outcome.
    let expected = if web.status(&order).await == "cancelled" { StatusCode::ACCEPTED } else { StatusCode::CONFLICT };
    assert_eq!(web.cancel(&order).await.status, expected);
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
