//! `orderflow doctor`: its findings in installations with one fault each, and none in a healthy one.

use orderflow_service::broker::names;
use orderflow_tests::{Ended, Shop, VISA, queues, run, until};
use orderflow_worker::roster;
use reqwest::Method;
use serde_json::Value;

use crate::{
    commands::{NOWHERE, ended, settings, with},
    why::FILTERS,
};

pub async fn doctor(shop: &Shop) -> Ended {
    run("orderflow", &["doctor"], &shop.operator_settings()).await
}

/// Replaces the servers' versions and names, and the numbers of queues, which every new subscription changes.
/// [`FILTERS`] replaces the rest.
pub fn scrubbed(text: &str) -> String {
    let work = roster().subscriptions().len();
    // A dead-letter queue for each, two retry tiers, and the queue of unrouted messages.
    let queues = 2 * work + 3;
    let vague = |line: &str| match line.trim_start().split("  ").next() {
        Some("database") => "  database  PostgreSQL VERSION, its clock SPAN from ours".to_owned(),
        Some("broker") => "  broker  RabbitMQ VERSION: NODES".to_owned(),
        Some("users") => "  users  USERS".to_owned(),
        Some("roles") => "  roles  ROLES".to_owned(),
        Some("connections") => "  connections  USERS".to_owned(),
        _ => line.to_owned(),
    };
    // The lists of the servers' users, roles and connections may take further lines.
    let mut names = false;
    let further = |line: &&str| {
        let is_further = names && line.starts_with("                ");
        names = ["  users  ", "  roles  ", "  connections  "].iter().any(|one| line.starts_with(one)) || is_further;
        !is_further
    };
    let text = text.lines().filter(further).map(vague).collect::<Vec<_>>().join("\n");
    text.replace(&format!("{queues} queues"), "QUEUES queues")
        .replace(&format!("{work} of {work} have"), "ALL of ALL have")
        .replace(&format!("{} of {work} have", work - 1), "ALL BUT ONE have")
        .replace(&format!(" of {work} have"), " of ALL have")
        .replace(&format!("none of the {work} queues"), "none of ALL queues")
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_shop_has_no_findings_and_one_without_workers_has() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    web.order("MUG-BLUE", 1, VISA).await;
    shop.until_quiet().await;
    let healthy = doctor(&shop).await;
    ended(&healthy, 0, &["Nothing is wrong."]);
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("healthy", scrubbed(&healthy.out)) });
    let json = run("orderflow", &["doctor", "--json"], &shop.operator_settings()).await;
    ended(&json, 0, &[]);
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["ok"], &report["findings"]), (&true.into(), &Value::Array(Vec::new())));

    for worker in std::mem::take(shop.workers()) {
        worker.stop().await;
    }
    web.order("MUG-BLUE", 1, VISA).await;
    shop.until_published().await;
    let idle = doctor(&shop).await;
    ended(&idle, 1, &["No worker is connected", "messages waiting: 2.", "start `orderflow-worker`"]);
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("no workers", scrubbed(&idle.out)) });
    shop.start_worker_without(&["payment.*"], &[]).await;
    ended(&doctor(&shop).await, 1, &["Nobody consumes payment.order-created (1 message)", "--queue NAME"]);
    shop.start_worker(&["payment.*"]).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_broker_objects_and_rights_are_named() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let queue = queues::EMAIL_ORDER_CREATED.dead_letter_queue();
    shop.manage(Method::DELETE, &format!("queues/{{vhost}}/{queue}")).await;
    shop.manage(Method::DELETE, "permissions/{vhost}/orderflow-web").await;
    let findings = doctor(&shop).await;
    let says = [
        &format!("queue {queue} is missing"),
        "`orderflow topology apply` creates what is missing",
        "The user orderflow-web has no rights in this virtual host.",
        "gives it its rights; no password is needed",
    ];
    ended(&findings, 1, &says);
    let passwords = ["orderflow-web", "orderflow-worker"].map(|user| shop.servers.password(user));
    let operator = with(
        shop.operator_settings(),
        &[("AMQP_WEB_PASSWORD", &passwords[0]), ("AMQP_WORKER_PASSWORD", &passwords[1])],
    );
    ended(&run("orderflow", &["topology", "apply"], &operator).await, 0, &[]);
    ended(&doctor(&shop).await, 0, &[]);

    let elsewhere = shop.servers.broker(None, "no_such_vhost");
    let elsewhere = with(shop.operator_settings(), &[("AMQP_ADMIN_URL", elsewhere.as_str())]);
    ended(&run("orderflow", &["doctor"], &elsewhere).await, 1, &["no virtual host no_such_vhost"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misplaced_messages_are_named() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let probe = shop.probe().await;
    probe.publish(names::EVENTS, "order.teleported", b"{}").await;
    let queue = queues::PAYMENT_ORDER_CREATED.queue();
    probe.publish(names::DEAD_LETTERS, &queue, b"{}").await;
    shop.execute(
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         VALUES (gen_random_uuid(), 'email.order-created', 1, 'away', 'orderflow-worker @h 1', now())",
    )
    .await;
    shop.execute(
        "INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at,
                                       available_at)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'order.created', '/orderflow/web', now(), gen_random_uuid(), '{}',
                 now() - interval '2 minutes', now() + interval '1 hour')",
    )
    .await;
    let findings = doctor(&shop).await;
    let says = [
        "1 event of the service order cannot be published",
        "1 message in orders.unrouted: published, and no queue was bound for it.",
        "1 dead letter needs attention: 1 in payment.order-created.dlq.",
        "payment.order-created.dlq holds 1 dead letter that the index does not name.",
        "The index names 1 dead letter that email.order-created.dlq does not hold.",
    ];
    ended(&findings, 1, &says);
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("messages", scrubbed(&findings.out)) });
    // Removes everything that the test put there. The unrouted message alone is a finding too.
    shop.execute("TRUNCATE messaging.outbox, messaging.dead_letters").await;
    probe.take(&queues::PAYMENT_ORDER_CREATED.dead_letter_queue()).await;
    until("doctor finds only the unrouted message", async || {
        let found = run("orderflow", &["doctor", "--json"], &shop.operator_settings()).await;
        let report: Value = serde_json::from_str(&found.out).expect("JSON");
        let checks: Vec<_> =
            report["findings"].as_array().expect("a list").iter().map(|one| one["check"].clone()).collect();
        if (found.code, checks) == (Some(1), vec![Value::from("unrouted")]) { Ok(()) } else { Err(report) }
    })
    .await;
    probe.take(names::UNROUTED).await;
    ended(&doctor(&shop).await, 0, &["Nothing is wrong."]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_servers_are_named_and_the_rest_is_checked() {
    let shop = Shop::open().await;
    let broker = format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow");
    let management = format!("http://{NOWHERE}");
    let away = [("AMQP_ADMIN_URL", broker.as_str()), ("RABBITMQ_MANAGEMENT_URL", &management)];
    let found = run("orderflow", &["doctor"], &with(shop.operator_settings(), &away)).await;
    ended(
        &found,
        3,
        &["Could not be checked", "broker", "is its management plugin on", "queues", "PostgreSQL", "outbox"],
    );
    assert!(!found.out.contains("hush"), "{found:?}");
    let database = format!("postgres://orderflow:hush@{NOWHERE}/orderflow");
    let away = with(shop.operator_settings(), &[("DATABASE_URL", &database)]);
    let found = run("orderflow", &["doctor"], &away).await;
    ended(&found, 3, &["Is PostgreSQL up", "No worker is connected", "and not everything could be checked"]);
    assert!(!found.out.contains("hush"), "{found:?}");
    let stranger = shop.servers.broker(Some(("orderflow-admin", "wrong-password")), &shop.admin.vhost);
    let stranger = with(shop.operator_settings(), &[("AMQP_ADMIN_URL", stranger.as_str())]);
    let found = run("orderflow", &["doctor"], &stranger).await;
    ended(&found, 3, &["401", "Is AMQP_ADMIN_URL's user an", "password right?"]);
    assert!(!found.out.contains("wrong-password"), "{found:?}");

    shop.execute("DELETE FROM public.__diesel_schema_migrations WHERE version = (SELECT max(version) FROM public.__diesel_schema_migrations)").await;
    ended(&doctor(&shop).await, 1, &["tables are missing or older than this program", "`orderflow migrate`"]);

    let incomplete = run("orderflow", &["doctor"], &settings(&[("RETRY_DELAYS", "soon")])).await;
    let says =
        ["DATABASE_URL is not set", "AMQP_ADMIN_URL is not set", "RETRY_DELAYS is \"soon\"", "`orderflow config`"];
    ended(&incomplete, 2, &says);
}
