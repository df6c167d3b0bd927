//! `orderflow queues`: the backlog, the rate, and the number of processes needed, per queue.

use orderflow_service::broker::names;
use orderflow_tests::{Ended, Proxy, Shop, VISA, run, until};
use orderflow_worker::roster;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::commands::{NOWHERE, ended, settings, with};

const PAYMENT: &str = "payment.order-created";

async fn queues(shop: &Shop) -> Ended {
    run("orderflow", &["queues"], &shop.operator_settings()).await
}

/// Returns the command's exit status and its JSON report on a queue.
async fn asked(settings: &[(String, String)], queue: &str) -> (Option<i32>, Value) {
    let told = run("orderflow", &["queues", "--json"], settings).await;
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(report["schema_version"], 1);
    let all = report["queues"].as_array().expect("a list");
    assert_eq!(all.len(), roster().subscriptions().len());
    let found = all.iter().find(|one| one["queue"] == queue).unwrap_or_else(|| panic!("{queue} is missing: {report}"));
    (told.code, found.clone())
}

/// Returns the report on a queue from a command that must exit with this status.
async fn told(settings: &[(String, String)], code: i32, queue: &str) -> Value {
    let (status, found) = asked(settings, queue).await;
    assert_eq!(status, Some(code), "{found}");
    found
}

/// Waits until the report satisfies `so`: the broker's figures are a few seconds old, and a worker's up to ten.
async fn until_told(shop: &Shop, what: &str, queue: &str, so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    until(what, async || {
        let (status, found) = asked(&shop.operator_settings(), queue).await;
        last = found;
        if status == Some(0) && so(&last) { Ok(()) } else { Err((status, last.clone())) }
    })
    .await;
    last
}

/// Waits until the management API's statistics, which lag a few seconds, count this many consumers of payment's queue.
async fn until_counted(shop: &Shop, consumers: u32) {
    until(&format!("RabbitMQ's statistics have {consumers} consumers"), async || {
        let queue = shop.manage(Method::GET, &format!("queues/{{vhost}}/{PAYMENT}")).await;
        if queue["consumers"] == consumers { Ok(()) } else { Err(queue["consumers"].clone()) }
    })
    .await;
}

/// Trial G1: two seconds after a worker had started, the command used older statistics and reported no worker.
#[tokio::test(flavor = "multi_thread")]
async fn workers_and_messages_are_reported_as_of_now() {
    let mut shop = Shop::open().await;
    let probe = shop.probe().await;
    until_counted(&shop, 0).await;
    probe.publish(names::RETURN, PAYMENT, b"{}").await;
    let idle = queues(&shop).await;
    ended(&idle, 0, &["No worker is connected"]);
    assert_eq!(told(&shop.operator_settings(), 0, PAYMENT).await["ready"], 1);
    probe.take(PAYMENT).await;
    assert_eq!(told(&shop.operator_settings(), 0, PAYMENT).await["ready"], 0);

    shop.start_worker(&[]).await;
    let working = queues(&shop).await;
    ended(&working, 0, &[]);
    assert!(!working.out.contains("No worker") && !working.out.contains("no consumer"), "{}", working.out);
    until_counted(&shop, 1).await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    ended(&queues(&shop).await, 0, &["No worker is connected"]);

    // The AMQP port is closed, so the command must not conclude anything about consumers.
    let closed = with(
        shop.operator_settings(),
        &[(
            "AMQP_ADMIN_URL",
            &format!("amqp://{}:{}@{NOWHERE}/{}", shop.admin.user, shop.admin.password.expose_secret(), shop.name()),
        )],
    );
    let partly = run("orderflow", &["queues"], &closed).await;
    ended(&partly, 3, &["consumers are not known", "up to five seconds old"]);
    assert!(!partly.out.contains("No worker"), "{}", partly.out);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backlog_and_rates_are_reported() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    // The row of a process that died without deleting it.
    shop.execute(
        "INSERT INTO messaging.queue_pace (worker, queue, measured_at, slots, in_hand, events_per_second,
                                           failures_per_second, processing_seconds)
         VALUES ('@gone 1 0', 'payment.order-created', now() - interval '61 seconds', 512, 3, 5.0, 0, 1.0)",
    )
    .await;
    web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let idle =
        until_told(&shop, "three messages wait", PAYMENT, |one| one["ready"] == 3 && one["consumers"] == 0).await;
    assert_eq!((&idle["drains"], &idle["drain_seconds"]), (&Value::Bool(false), &Value::Null), "no worker consumes it");
    for unknown in ["handled_per_second", "processing_seconds", "lag_seconds", "processes_needed", "paused"] {
        assert_eq!(idle[unknown], Value::Null, "{unknown}: {idle}");
    }
    // The broker lists a new queue only after a few seconds.
    until("no queue has a worker", async || {
        let text = queues(&shop).await;
        if text.out.contains("No worker is connected") { Ok(()) } else { Err(text.out) }
    })
    .await;
    let text = queues(&shop).await;
    ended(&text, 0, &["No worker is connected", "never", PAYMENT]);
    assert!(text.out.lines().all(|line| line.chars().count() <= 120), "{}", text.out);

    shop.start_worker(&[]).await;
    shop.until_quiet().await;
    let handled = |one: &Value| one["handled_per_second"].as_f64().is_some_and(|rate| rate > 0.0) && one["ready"] == 0;
    let busy = until_told(&shop, "the worker has written its pace", PAYMENT, handled).await;
    let number = |name: &str| busy[name].as_f64().unwrap_or_else(|| panic!("{name} is not known: {busy}"));
    assert!(number("processing_seconds") > 0.0 && number("lag_seconds") > 0.0, "{busy}");
    // Three events in ten to thirty seconds.
    assert!((0.09..0.34).contains(&number("handled_per_second")), "{busy}");
    assert_eq!((&busy["consumers"], &busy["processes_needed"]), (&1.into(), &1.into()), "{busy}");
    assert_eq!((&busy["drains"], &busy["paused"]), (&true.into(), &false.into()), "{busy}");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.queue_pace WHERE worker = '@gone 1 0'").await, 0);
    let rows = i64::try_from(roster().subscriptions().len()).expect("few");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.queue_pace").await, rows);
    let text = queues(&shop).await;
    assert!(
        !text.out.contains("nobody") && text.out.lines().count() == roster().subscriptions().len() + 1,
        "{}",
        text.out
    );

    shop.workers().remove(0).stop().await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.queue_pace").await, 0, "a stopped worker deletes its rows");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_of_an_unavailable_provider_is_paused_and_needs_no_more_workers() {
    let mut shop = Shop::open_with_many_retries().await;
    let web = shop.start_web().await;
    let wire = Proxy::to(&shop.database_url()).await;
    let ledger = wire.through(&shop.database_url()).to_string();
    shop.start_worker_with(&[], &[("SIMULATOR_DATABASE_URL", ledger.as_str())]).await;
    wire.cut().await;
    web.orders(30, "MUG-BLUE", VISA).await;
    let paused = until_told(&shop, "payment is paused", PAYMENT, |one| {
        one["paused"] == true && one["failures_per_second"].as_f64().is_some_and(|rate| rate > 0.0)
    })
    .await;
    assert_eq!((&paused["processes_needed"], &paused["drains"]), (&Value::Null, &Value::Null), "{paused}");
    ended(
        &queues(&shop).await,
        0,
        &[
            "Paused when their workers last reported, up to ten seconds ago, because the provider is unavailable",
            "payment.order-created",
        ],
    );
    assert_eq!(told(&shop.operator_settings(), 0, "email.order-created").await["paused"], false, "mail is not paused");
    wire.mend().await;
    shop.until_settled().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_retries_are_counted_per_queue() {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    probe.publish(names::DEAD_LETTERS, PAYMENT, b"no event").await;
    shop.execute(
        "INSERT INTO messaging.attempts (subscription, attempt, reason, worker, failed_at, retry_at)
         VALUES ('payment.order-created', 1, 'busy', '@h 1', now(), now() + interval '1 hour'),
                ('payment.order-created', 1, 'busy', '@h 1', now(), now() - interval '1 second'),
                ('email.order-created', 1, 'broken', '@h 1', now(), NULL)",
    )
    .await;
    let found = until_told(&shop, "a dead letter is seen", PAYMENT, |one| one["dead_letters"] == 1).await;
    assert_eq!(found["retries_waiting"], 1, "{found}");
    let other = told(&shop.operator_settings(), 0, "email.order-created").await;
    assert_eq!((&other["dead_letters"], &other["retries_waiting"]), (&0.into(), &0.into()), "{other}");
    ended(&queues(&shop).await, 0, &["1 dead letter: `orderflow dlq list` says why."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_sources_are_named_and_the_rest_is_reported() {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    let operator = shop.operator_settings();
    shop.execute(
        "INSERT INTO messaging.queue_pace (worker, queue, measured_at, slots, in_hand, events_per_second,
                                           failures_per_second, processing_seconds)
         VALUES ('@h 1 0', 'payment.order-created', now() + interval '1 minute', 512, 3, 5.0, 0, 1.0)",
    )
    .await;
    probe.publish("", PAYMENT, b"no event").await;
    until_told(&shop, "the message is seen", PAYMENT, |one| one["ready"] == 1 && one["handled_per_second"] == 5.0)
        .await;

    let database = format!("postgres://orderflow:hush@{NOWHERE}/orderflow");
    let no_database = with(operator.clone(), &[("DATABASE_URL", &database)]);
    let found = told(&no_database, 3, PAYMENT).await;
    assert_eq!((&found["ready"], &found["handled_per_second"]), (&1.into(), &Value::Null), "{found}");
    let text = run("orderflow", &["queues"], &no_database).await;
    ended(&text, 3, &["not read: ", "Is PostgreSQL up", PAYMENT]);

    let broker = format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow");
    let no_broker = [("AMQP_ADMIN_URL", broker.as_str()), ("RABBITMQ_MANAGEMENT_URL", &format!("http://{NOWHERE}"))];
    let no_broker = with(operator.clone(), &no_broker);
    let found = told(&no_broker, 3, PAYMENT).await;
    assert_eq!((&found["ready"], &found["handled_per_second"]), (&Value::Null, &5.0.into()), "{found}");
    assert_eq!((&found["processes_needed"], &found["drains"]), (&Value::Null, &Value::Null), "{found}");
    let text_without_broker = run("orderflow", &["queues"], &no_broker).await;
    ended(&text_without_broker, 3, &["not read: ", "is its management plugin on"]);

    let stranger = shop.servers.broker(Some(("orderflow-admin", "wrong-password")), &shop.admin.vhost);
    let refused =
        run("orderflow", &["queues"], &with(operator.clone(), &[("AMQP_ADMIN_URL", stranger.as_str())])).await;
    ended(&refused, 3, &["401", "password right?"]);
    for said in [&text, &text_without_broker, &refused] {
        assert!(!format!("{said:?}").contains("hush") && !format!("{said:?}").contains("wrong-password"), "{said:?}");
    }
    probe.delete_queue("email.order-created").await;
    until("the missing queue is reported", async || {
        let found = run("orderflow", &["queues"], &operator).await;
        let named =
            found.out.contains("not read: RabbitMQ has no queue email.order-created: run `orderflow topology apply`");
        if found.code == Some(3) && named { Ok(()) } else { Err(found) }
    })
    .await;
    ended(
        &run("orderflow", &["queues"], &settings(&[])).await,
        2,
        &["DATABASE_URL is not set", "AMQP_ADMIN_URL is not set"],
    );
}
