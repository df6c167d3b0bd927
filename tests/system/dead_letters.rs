//! Failed attempts and dead letters are recorded, and old ones deleted. Also helpers for tests of dead letters.

use orderflow::{broker::DeadLetters, store::order_blockers};
use orderflow_service::{
    Subscription,
    broker::{Connector, names},
    config::{BrokerConfig, Source},
    store::failures,
};
use orderflow_tests::{Ended, Order, Probe, Proxy, Shop, VISA, Web, queues, run, until};
use serde_json::Value;

use crate::commands::ended;

pub const PAYMENT: Subscription = queues::PAYMENT_ORDER_CREATED;

/// An event of an order that does not exist, which payment rejects immediately.
pub const STRANGER: &[u8] = include_bytes!("../../docs/events/orders.order-created.v1.json");

/// Runs `orderflow dlq …` as the operator.
pub async fn dlq(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["dlq"], arguments].concat(), &shop.operator_settings()).await
}

/// Runs `orderflow dlq discard` with these arguments; the discarded messages go into a file of its own.
pub async fn discard(shop: &Shop, arguments: &[&str]) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept.jsonl");
    let common = ["discard", "--yes", "--file", file.to_str().expect("text")];
    dlq(shop, &[&common[..], arguments].concat()).await
}

pub async fn until_number(shop: &Shop, wanted: i64, sql: &str) {
    until(&format!("{sql} is {wanted}"), async || {
        let number = shop.number(sql).await;
        if number == wanted { Ok(()) } else { Err(number) }
    })
    .await;
}

/// Makes every payment fail when it is recorded: a fault that an operator can fix.
pub async fn break_payments(shop: &Shop) {
    shop.execute("ALTER TABLE payment.payments ADD CONSTRAINT broken CHECK (false) NOT VALID").await;
}

pub async fn repair_payments(shop: &Shop) {
    shop.execute("ALTER TABLE payment.payments DROP CONSTRAINT broken").await;
}

/// Opens a shop with this many orders whose charge is dead-lettered.
pub async fn with_dead_orders(count: usize) -> (Shop, Web, Vec<Order>, Probe) {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    break_payments(&shop).await;
    shop.start_worker(&[]).await;
    let orders = web.orders(count, "MUG-BLUE", VISA).await;
    let probe = shop.probe().await;
    let wanted = u32::try_from(count).expect("not that many");
    probe.until_dead(PAYMENT, wanted).await;
    until_number(&shop, i64::from(wanted), "SELECT count(*) FROM messaging.dead_letters").await;
    (shop, web, orders, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failed_attempt_and_every_dead_letter_is_recorded() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, "pm_card_flaky").await;
    web.until_status(&order, "shipped").await;
    let of_order = format!(
        "FROM messaging.attempts JOIN messaging.event_log USING (event_id)
         WHERE order_id = '{}' AND event = 'order.created' AND subscription = 'payment.order-created'",
        order.id
    );
    until_number(&shop, 2, &format!("SELECT count(*) {of_order}")).await;
    assert_eq!(shop.number("SELECT requests FROM simulator.charges").await, 3, "two failures, then success");
    // The tests' retry delays: 200 ms after the first attempt, a second after the second.
    for (attempt, milliseconds) in [(1, 200), (2, 1_000)] {
        let waited =
            format!("SELECT extract(milliseconds FROM retry_at - failed_at) {of_order} AND attempt = {attempt}");
        assert_eq!(shop.number(&waited).await, milliseconds);
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0);

    let probe = shop.probe().await;
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"{\"type\":\"\\u0000\"}").await;
    probe.until_dead(PAYMENT, 2).await;
    let dead = "SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL AND attempt IN (1, 2)
                AND worker LIKE 'orderflow-worker @%' AND subscription = 'payment.order-created'";
    let stranger: Value = serde_json::from_slice(STRANGER).expect("it is JSON");
    let by_id = format!(
        "{dead} AND event_id = '{}' AND reason LIKE 'the event log has no such event%'",
        stranger["id"].as_str().expect("an id")
    );
    until_number(&shop, 1, &by_id).await;
    until_number(&shop, 1, &format!("{dead} AND event_id IS NULL")).await;
    until_number(&shop, 2, "SELECT count(*) FROM messaging.attempts WHERE retry_at IS NULL").await;
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_message_is_kept_without_the_database_and_recorded_later() {
    let mut shop = Shop::open().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    shop.start_worker_with(&[], &[("DATABASE_URL", wire.through(&url).as_str())]).await;
    wire.cut().await;
    let probe = shop.probe().await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"no event").await;
    probe.until_dead(PAYMENT, 1).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0);
    wire.mend().await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters").await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.attempts").await, 1);
    // Fails unless the work queue is empty, including unacknowledged messages.
    shop.close_with_dead_letters(&[(PAYMENT, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_attempts_are_deleted_and_younger_ones_are_kept() {
    let shop = Shop::open_without_queues().await;
    shop.execute(
        "INSERT INTO messaging.attempts (subscription, attempt, reason, worker, failed_at)
         SELECT 'payment.order-created', 1, 'test', 'test', now() - day * interval '1 day'
         FROM generate_series(1, 100) AS day",
    )
    .await;
    let mut connection = shop.database().await;
    assert_eq!(failures::forget_old(&mut connection, 4).await.expect("it can be done"), 4);
    while failures::forget_old(&mut connection, 4).await.expect("it can be done") > 0 {}
    assert_eq!(
        shop.number("SELECT count(*) FROM messaging.attempts").await,
        89,
        "only attempts of the last 89 days remain"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn order_does_not_wait_for_an_operator_once_its_dead_letter_was_applied() {
    let shop = Shop::open_without_queues().await;
    let mut connection = shop.database().await;
    let event = "0198f1c2-7c00-7000-8000-000000000001".parse().expect("an id");
    let mut waits =
        async || order_blockers::of(&mut connection, &[event]).await.expect("it is known").waits_for_a_person;
    assert!(!waits().await);
    for queue in ["payment.order-created", "email.order-created"] {
        shop.execute(&format!(
            "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
             VALUES ('{event}', '{queue}', 3, 'test', 'test', now())"
        ))
        .await;
    }
    assert!(waits().await);
    // An operator has moved it by hand. That another subscription has applied the event does not matter.
    for (queue, left) in [("inventory.order-created", true), ("payment.order-created", false)] {
        shop.execute(&format!("INSERT INTO messaging.inbox (event_id, subscription) VALUES ('{event}', '{queue}')"))
            .await;
        assert_eq!(waits().await, left, "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_read_finds_everything_that_the_previous_one_requeued() {
    let (shop, _, _, probe) = with_dead_orders(3).await;
    let settings: Source = shop.operator_settings().into_iter().collect();
    let broker = BrokerConfig::read_admin(&settings).expect("an operator's settings");
    let connector = Connector::new(&broker, "a test");
    for number in 0..20 {
        // Both connect first, so that the second read follows the first immediately.
        for mut look in [open(&connector).await, open(&connector).await] {
            let found = look.read(PAYMENT, 10).await.expect("the queue can be read");
            assert_eq!(found.dead_letters.len(), 3, "pair {number}");
            look.close().await.expect("the messages are requeued");
        }
    }
    repair_payments(&shop).await;
    ended(&dlq(&shop, &["replay", "--all", "--yes"]).await, 0, &[]);
    shop.until_settled().await;
    probe.until_dead(PAYMENT, 0).await;
    shop.close().await;
}

async fn open(connector: &Connector) -> DeadLetters {
    DeadLetters::open(connector).await.expect("the broker answers")
}
