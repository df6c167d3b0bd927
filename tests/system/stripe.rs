//! Orders paid through Stripe, with a simulated Stripe API that fails in every way.

use futures::StreamExt as _;
use orderflow_tests::{Charged, Child, DECLINED, Order, Shop, VISA, Web, body, key, run, until};

use crate::commands::{ended, with};

/// One order per concurrent call, so that all of them are in progress when the faults begin.
const ORDERS: usize = 60;

/// Attempts that may fail before an outage is detected.
const FEW: usize = 15;

/// Orders that are cancelled while the key is invalid.
const CANCELLED: usize = 20;

fn logged(worker: &Child, text: &str) -> usize {
    worker.log().iter().filter(|line| line.contains(text)).count()
}

/// Places a mix of orders: valid, declined and temporarily failing cards, and refused shipments.
async fn all_kinds(web: &Web, count: usize) -> Vec<Order> {
    let placing = (0..count).map(|turn| async move {
        let card = match turn % 6 {
            1 => DECLINED,
            3 => "pm_card_flaky",
            _ => VISA,
        };
        let sku = if turn % 5 == 0 { "BATTERY-BULK" } else { "MUG-BLUE" };
        web.place(&key(), &body(sku, 1, card)).await.accepted()
    });
    futures::stream::iter(placing).buffered(8).collect().await
}

/// The cases are independent orders, so they share a shop.
#[tokio::test(flavor = "multi_thread")]
async fn every_card_a_stored_error_and_an_immediate_cancel_have_their_outcome() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    every_card_has_its_outcome(&mut shop, &web).await;
    stored_error_is_bypassed_and_the_card_charged_once(&mut shop, &web).await;
    order_cancelled_immediately_keeps_no_money(&mut shop, &web).await;
    // The log contains neither the provider's key, nor the card, nor an address.
    for child in shop.workers().iter() {
        assert_eq!(logged(child, "hush") + logged(child, "pm_card") + logged(child, "example.org"), 0);
    }
    shop.close().await;
}

async fn every_card_has_its_outcome(shop: &mut Shop, web: &Web) {
    for (card, sku, end, expected) in [
        (VISA, "MUG-BLUE", "shipped", Charged { intents: 1, charges: 1, refunds: 0 }),
        (DECLINED, "MUG-BLUE", "payment_failed", Charged { intents: 2, charges: 1, refunds: 0 }),
        ("pm_card_flaky", "MUG-BLUE", "shipped", Charged { intents: 3, charges: 2, refunds: 0 }),
        (
            "pm_card_authenticationRequired",
            "MUG-BLUE",
            "payment_failed",
            Charged { intents: 4, charges: 2, refunds: 0 },
        ),
        ("pm_card_vissa", "MUG-BLUE", "payment_failed", Charged { intents: 5, charges: 2, refunds: 0 }),
        (VISA, "BATTERY-BULK", "cancelled", Charged { intents: 6, charges: 3, refunds: 1 }),
    ] {
        let order = web.order(sku, 1, card).await;
        web.until_status(&order, end).await;
        assert_eq!(shop.stripe().charged().await, expected, "{card}");
    }
    let reasons = |reason: &str| {
        format!(
            "SELECT count(*) FROM messaging.event_log WHERE event = 'payment.failed' AND data ->> 'reason' = '{reason}'"
        )
    };
    for reason in ["card_declined", "authentication_required", "unknown_payment_method"] {
        assert_eq!(shop.number(&reasons(reason)).await, 1, "{reason}");
    }
}

async fn stored_error_is_bypassed_and_the_card_charged_once(shop: &mut Shop, web: &Web) {
    let before = shop.stripe().charged().await.charges;
    shop.stripe().fail("error_after", 1.0).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.stripe().until_failed("error_after", 2).await;
    shop.stripe().fail("none", 0.0).await;
    web.until_status(&order, "shipped").await;
    assert_eq!(shop.stripe().charged().await.charges, before + 1);
}

async fn cancelled(shop: &Shop) -> i64 {
    shop.number("SELECT count(*) FROM orders.orders WHERE status = 'cancelled'").await
}

async fn order_cancelled_immediately_keeps_no_money(shop: &mut Shop, web: &Web) {
    let before = cancelled(shop).await;
    let journeys = (0..ORDERS).map(|_| async {
        let order = web.order("MUG-BLUE", 1, VISA).await;
        web.cancel(&order).await;
    });
    futures::stream::iter(journeys).buffer_unordered(8).collect::<Vec<()>>().await;
    shop.until_settled().await;
    let new = cancelled(shop).await - before;
    assert!(new > 0, "every cancel came too late");
    println!("{new} cancelled, {:?}", shop.stripe().charged().await);
}

/// Makes half of all calls fail in one of these modes after the other, each time while sixty orders are in progress and
/// some are cancelled.
async fn withstands(modes: &[&str]) {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    for mode in modes {
        // The next worker's circuit breaker does not remember the previous mode.
        for worker in shop.workers().drain(..) {
            worker.stop().await;
        }
        let orders = all_kinds(&web, ORDERS).await;
        shop.stripe().fail(mode, 0.5).await;
        shop.start_worker_with(&[], &[("PAYMENT_TIMEOUT", "3s")]).await;
        for order in orders.iter().step_by(4) {
            web.cancel(order).await;
        }
        // While the provider is unavailable the worker calls it rarely, so ten failures take seconds.
        shop.stripe().until_failed(mode, 10).await;
        shop.stripe().fail("none", 0.0).await;
        shop.until_settled().await;
        println!("{mode}: {:?}", shop.stripe().charged().await);
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_malformed_answers_are_survived() {
    withstands(&["error_before", "error_after", "garbage"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_and_hanging_requests_are_survived() {
    withstands(&["rate_limited", "hang_before", "hang_after"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_killed_provider() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    all_kinds(&web, 100).await;
    // Low concurrency, so that the provider is killed in the middle.
    for _ in 0..2 {
        shop.start_worker_with(&[], &[("PAYMENT_CONCURRENCY", "2")]).await;
    }
    until("some are charged", async || {
        let charges = shop.stripe().charged().await.charges;
        if charges >= 10 { Ok(()) } else { Err(charges) }
    })
    .await;
    shop.stripe().kill().await;
    for worker in shop.workers() {
        worker.until_logged("the payment provider is unavailable").await;
    }
    shop.stripe().restart().await;
    shop.until_settled().await;
    println!("{:?}", shop.stripe().charged().await);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_key_harms_no_order_and_cancels_need_no_provider() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    let orders = web.orders(ORDERS, "MUG-BLUE", VISA).await;
    shop.start_worker_with(&[], &[("STRIPE_SECRET_KEY", "sk_live_hush")]).await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the payment provider is unavailable").await;
    worker.until_logged("check STRIPE_SECRET_KEY").await;
    worker.until_logged("is still unavailable").await;
    // Nothing can be charged, so a cancel needs no call to Stripe.
    for order in &orders[..CANCELLED] {
        web.cancel(order).await;
    }
    shop.until_orders("cancelled", i64::try_from(CANCELLED).expect("small")).await;
    let worker = shop.workers().pop().expect("it runs");
    // On a busy machine the database may be slow now and then, which also causes retries.
    assert!(logged(&worker, "it is tried again reason=the payment provider") <= FEW, "{:#?}", worker.log());
    assert_eq!(logged(&worker, "hush"), 0);
    worker.stop().await;
    assert_eq!(shop.stripe().charged().await, Charged { intents: 0, charges: 0, refunds: 0 });
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    let paid = ORDERS - CANCELLED;
    assert_eq!(shop.stripe().charged().await, Charged { intents: paid, charges: paid, refunds: 0 });
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_a_worker_does_not_start() {
    let mut shop = Shop::open_with_stripe().await;
    let stripe = with(shop.settings("orderflow-worker"), &[("STRIPE_SECRET_KEY", "")]);
    ended(&run("orderflow-worker", &[], &stripe).await, 2, &["STRIPE_SECRET_KEY has to be set"]);
    for (name, value) in [
        ("STRIPE_SECRET_KEY", "pk_test_hush"),
        ("STRIPE_SECRET_KEY", "sk_test_hush hush"),
        ("STRIPE_SECRET_KEY_FILE", "/nowhere/hush"),
        ("STRIPE_API_BASE", "http://api.stripe.example"),
        ("STRIPE_API_BASE", "api.stripe.com"),
    ] {
        let wrong = with(stripe.clone(), &[(name, value)]);
        let refused = run("orderflow-worker", &[], &wrong).await;
        ended(&refused, 2, &[name]);
        assert!(name.ends_with("_FILE") || !refused.err.contains("hush"), "{refused:?}");
    }
    // Like every secret, the key may come from a file.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    std::fs::write(&file, "sk_test_hush\n").expect("it can be written");
    let web = shop.start_web().await;
    let by_file = [("STRIPE_SECRET_KEY", ""), ("STRIPE_SECRET_KEY_FILE", file.to_str().expect("text"))];
    shop.start_worker_with(&[], &by_file).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "shipped").await;
    shop.close().await;
}
