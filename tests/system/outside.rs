//! Services in examples/, registered at a shop whose programs do not know them.

use std::{fs, path::Path};

use diesel_async::SimpleAsyncConnection as _;
use orderflow_events::{EventKind, EventName};
use orderflow_service::broker::names;
use orderflow_tests::{
    Child, Shop, VISA, Web,
    own::{Own, Wanted},
    run, sample, until,
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    commands::{ended, with},
    republish::topology_apply,
};

/// A user of RabbitMQ for this service alone: it gets its own queues' messages, and publishes where services do.
async fn own_user(shop: &Shop, service: &str) -> String {
    let (user, password) = (format!("{}-{service}", shop.name()), "for this test alone");
    let body = json!({ "password": password, "tags": "" });
    shop.manage_with(Method::PUT, &format!("users/{user}"), &body).await;
    let rights = json!({
        "configure": "^$", "write": "^orders\\.(events|dlx|return|retry\\..+)$", "read": format!("^{service}\\.[a-z0-9-]+$"),
    });
    shop.manage_with(Method::PUT, &format!("permissions/{{vhost}}/{user}"), &rights).await;
    let mut url = shop.broker_url("orderflow-worker");
    url.set_username(&user).and_then(|()| url.set_password(Some(password))).expect("it has a host");
    url.to_string()
}

async fn remove_user(shop: &Shop, service: &str) {
    shop.manage(Method::DELETE, &format!("users/{}-{service}", shop.name())).await;
}

async fn register(shop: &Shop, arguments: &[&str]) {
    let all = [&["service", "register"], arguments].concat();
    ended(&run("orderflow", &all, &shop.operator_settings()).await, 0, &["is registered"]);
    topology_apply(shop).await;
}

/// The loyalty service is built on the library alone. While it is away, no customer and no order notices; when it comes it
/// catches up, and the event that it publishes is folded by programs that do not know its kind.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_rust_is_added_to_a_running_shop() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker(&[]).await;
    register(
        &shop,
        &["loyalty", "--event", "shipment.created", "--publishes", "loyalty.points-booked", "--tracks", "inbox"],
    )
    .await;
    let orders = web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;
    let seen = web.get_of(&orders[0], "").await;
    assert_eq!((seen.body["status"].as_str(), seen.body["version"].as_i64()), (Some("shipped"), Some(4)));

    let settings = with(shop.settings("orderflow-worker"), &[("AMQP_URL", &own_user(&shop, "loyalty").await)]);
    let early = run("loyalty", &[], &settings).await;
    ended(&early, 2, &["not up to date"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &["migrated loyalty/20261129000001"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &[]);
    let mut loyalty = Child::start("loyalty", &[], &settings);
    let health = Web::new(loyalty.address().await);
    until("it is ready", async || {
        let answer = health.get("/readyz", &[]).await;
        if answer.status.is_success() { Ok(()) } else { Err(answer) }
    })
    .await;
    shop.workers().push(loyalty);
    until("all points are booked and folded", async || {
        let points = shop.number("SELECT count(*) FROM loyalty.bookings WHERE points > 0").await;
        let folded = shop.number("SELECT count(*) FROM orders.orders WHERE version = 5 AND status = 'shipped'").await;
        if (points, folded) == (5, 5) { Ok(()) } else { Err((points, folded)) }
    })
    .await;
    assert_eq!(web.events(&orders[0]).await.last().map(String::as_str), Some("loyalty.points-booked"));
    assert_eq!(probe.waiting("orders.unrouted").await, 0);
    let operator = shop.operator_settings();
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &operator).await, 0, &[]);
    ended(&run("orderflow", &["doctor"], &operator).await, 0, &["Nothing is wrong."]);
    let impatient = with(operator, &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &impatient).await, 0, &["Nothing is missing."]);
    remove_user(&shop, "loyalty").await;
    shop.close().await;
}

/// The fraud check's own schema and role: it may call `messaging.claim`, and read and write nothing else of ours.
async fn own_role(shop: &Shop, own: &Own) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let schema = fs::read_to_string(root.join("examples/fraud-check/schema.sql")).expect("it is there");
    own.postgres.as_superuser("CREATE ROLE \"fraud-check\" LOGIN PASSWORD 'for this test alone'").await;
    shop.database().await.batch_execute(&schema).await.expect("it can be made");
    for grant in [
        "GRANT USAGE ON SCHEMA messaging, fraud_check TO \"fraud-check\"",
        "GRANT EXECUTE ON FUNCTION messaging.claim TO \"fraud-check\"",
        "GRANT SELECT, INSERT ON fraud_check.verdicts TO \"fraud-check\"",
    ] {
        shop.execute(grant).await;
    }
    let mut url = shop.database_url();
    url.set_username("fraud-check")
        .and_then(|()| url.set_password(Some("for this test alone")))
        .expect("it has a host");
    url.to_string()
}

/// Waits until the fraud check has judged so many orders.
async fn until_judged(shop: &Shop, wanted: i64) {
    until("all are judged", async || {
        let judged = shop.number("SELECT count(*) FROM fraud_check.verdicts").await;
        if judged == wanted { Ok(()) } else { Err(judged) }
    })
    .await;
}

/// The Python service works by registration alone, with a database role that can do nothing but claim: through a restart of the
/// broker, with a forged and a broken message, and after a replay of what it could not do.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_python_is_added_to_a_running_shop() {
    let mut own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let mut shop = Shop::open_on(own.servers(), "100ms,200ms").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    register(&shop, &["fraud-check", "--event", "order.created", "--tracks", "inbox"]).await;
    let settings = [
        ("AMQP_URL", own_user(&shop, "fraud-check").await),
        ("DATABASE_URL", own_role(&shop, &own).await),
        ("RETRY_DELAYS", "100ms,200ms".to_owned()),
        ("FRAUD_LIMIT", "5000".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".dev/tools/fraud-check/bin/python");
    assert!(python.exists(), "what examples/fraud-check needs is not installed: `make test` does it");
    let program = root.join("examples/fraud-check/fraud_check.py");
    let service = Child::start_path(&python, &[program.to_str().expect("text")], &settings);
    web.orders(3, "MUG-BLUE", VISA).await;
    web.order("MUG-BLUE", 9, VISA).await;
    until_judged(&shop, 4).await;
    assert_eq!(shop.number("SELECT count(*) FROM fraud_check.verdicts WHERE suspicious").await, 1);

    own.rabbitmq.node(0).stop().await;
    web.orders(2, "MUG-BLUE", VISA).await;
    own.rabbitmq.node(0).start().await;
    until_judged(&shop, 6).await;
    let probe = shop.probe().await;

    // Neither of these is judged, and both are readable as dead letters with their reason.
    let queue = "fraud-check.order-created";
    let forged = sample(EventName::of(EventKind::OrderCreated), Uuid::now_v7(), Uuid::now_v7()).to_string();
    probe.publish(names::RETURN, queue, forged.as_bytes()).await;
    probe.publish(names::RETURN, queue, b"not JSON").await;
    let operator = shop.operator_settings();
    let reasons = ["the event log has no such event for this order", "the body is not a CloudEvents 1.0 event"];
    until("both are dead letters", async || {
        let list = run("orderflow", &["dlq", "list"], &operator).await;
        if reasons.iter().all(|reason| list.out.contains(reason)) { Ok(()) } else { Err(list) }
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept.jsonl");
    let discard = ["dlq", "discard", "--queue", "fraud-check.*", "--yes", "--file", file.to_str().expect("text")];
    ended(&run("orderflow", &discard, &operator).await, 0, &["2"]);

    // What it cannot do is tried again, then dead-lettered, and done after a replay.
    shop.execute("ALTER TABLE fraud_check.verdicts RENAME TO away").await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    until("it is a dead letter", async || {
        let waiting = probe.waiting(&format!("{queue}.dlq")).await;
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
    web.until_status(&order, "shipped").await;
    ended(&run("orderflow", &["dlq", "list"], &operator).await, 0, &["UndefinedTable"]);
    shop.execute("ALTER TABLE fraud_check.away RENAME TO verdicts").await;
    let replay = ["dlq", "replay", "--queue", "fraud-check.*", "--yes"];
    ended(&run("orderflow", &replay, &operator).await, 0, &["1 applied"]);
    until_judged(&shop, 7).await;
    // The worker's queues come back one after the other, each by its own backoff.
    until("nothing is wrong", async || {
        let doctor = run("orderflow", &["doctor"], &operator).await;
        if doctor.code == Some(0) { Ok(()) } else { Err(doctor) }
    })
    .await;
    let impatient = with(operator, &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &impatient).await, 0, &["Nothing is missing."]);
    service.stop().await;
    shop.close().await;
}
