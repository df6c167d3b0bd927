//! Services in examples/, registered with a shop whose programs do not know them.

use orderflow_events::{EventKind, EventName};
use orderflow_service::broker::names;
use orderflow_tests::{
    Child, Shop, VISA, Web,
    examples::{FRAUD_CHECK, LOYALTY, fraud_check, make_fraud_check_role},
    own::{Own, Wanted},
    roles, run, sample, until,
};
use uuid::Uuid;

use crate::{
    commands::{ended, with},
    dead_letters::discard,
};

/// The loyalty service depends on the library only, and has its own RabbitMQ user and PostgreSQL role. While it is
/// unavailable, no customer and no order is affected. When it starts it catches up, and programs that do not know its
/// event type fold its event.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_rust_is_added_to_a_running_shop() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker(&[]).await;
    LOYALTY.register(&shop).await;
    let orders = web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;
    let seen = web.get_of(&orders[0], "").await;
    assert_eq!((seen.body["status"].as_str(), seen.body["version"].as_i64()), (Some("shipped"), Some(4)));

    let user = LOYALTY.broker_url(&shop);
    let settings = with(shop.settings("orderflow-worker"), &[("AMQP_URL", user.as_str())]);
    let early = run("loyalty", &[], &settings).await;
    ended(&early, 2, &["not up to date"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &["migrated loyalty/20261129000001"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &[]);
    roles::make(&shop, &[LOYALTY.name]).await;
    let settings = with(settings, &[("DATABASE_URL", roles::database_as(&shop, LOYALTY.name).as_str())]);
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
    roles::close(shop).await;
}

/// Waits until the fraud check has judged this many orders.
async fn until_judged(shop: &Shop, wanted: i64) {
    until("all are judged", async || {
        let judged = shop.number("SELECT count(*) FROM fraud_check.verdicts").await;
        if judged == wanted { Ok(()) } else { Err(judged) }
    })
    .await;
}

/// The Python service needs only its registration and a database role that can do nothing but claim events. It
/// survives a restart of the broker, a forged message, a malformed message, and a replay of an event that it could
/// not handle.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_python_is_added_to_a_running_shop() {
    let mut own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let mut shop = Shop::open_on(own.servers(), "100ms,200ms").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    FRAUD_CHECK.register(&shop).await;
    let settings = [
        ("AMQP_URL", FRAUD_CHECK.broker_url(&shop).to_string()),
        ("DATABASE_URL", make_fraud_check_role(&shop, &own.postgres).await.to_string()),
        ("RETRY_DELAYS", "100ms,200ms".to_owned()),
        ("FRAUD_LIMIT", "5000".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let (python, program) = fraud_check();
    let service = Child::start_path(&python, &[&program], &settings);
    web.orders(3, "MUG-BLUE", VISA).await;
    web.order("MUG-BLUE", 9, VISA).await;
    until_judged(&shop, 4).await;
    assert_eq!(shop.number("SELECT count(*) FROM fraud_check.verdicts WHERE suspicious").await, 1);

    own.rabbitmq.node(0).stop().await;
    web.orders(2, "MUG-BLUE", VISA).await;
    own.rabbitmq.node(0).start().await;
    until_judged(&shop, 6).await;
    let probe = shop.probe().await;

    // Neither message is judged, and `dlq list` shows both with their reasons.
    let queue = "fraud-check.order-created";
    let forged = sample(EventName::of(EventKind::OrderCreated), Uuid::now_v7(), Uuid::now_v7()).to_string();
    probe.publish(names::RETURN, queue, forged.as_bytes()).await;
    probe.publish(names::RETURN, queue, b"not JSON").await;
    let operator = shop.operator_settings();
    let reasons = ["the event log has no such event for this order", "the body is not a CloudEvents 1.0 event"];
    until("both are dead-lettered", async || {
        let list = run("orderflow", &["dlq", "list"], &operator).await;
        if reasons.iter().all(|reason| list.out.contains(reason)) { Ok(()) } else { Err(list) }
    })
    .await;
    ended(&discard(&shop, &["--queue", "fraud-check.*"]).await, 0, &["2"]);

    // An event that it cannot handle is retried, then dead-lettered, and handled after a replay.
    shop.execute("ALTER TABLE fraud_check.verdicts RENAME TO away").await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    probe.until_waiting(&format!("{queue}.dlq"), 1).await;
    web.until_status(&order, "shipped").await;
    ended(&run("orderflow", &["dlq", "list"], &operator).await, 0, &["UndefinedTable"]);
    shop.execute("ALTER TABLE fraud_check.away RENAME TO verdicts").await;
    let replay = ["dlq", "replay", "--queue", "fraud-check.*", "--yes"];
    ended(&run("orderflow", &replay, &operator).await, 0, &["1 applied"]);
    until_judged(&shop, 7).await;
    // The worker's queues recover one by one, each after its own back-off.
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
