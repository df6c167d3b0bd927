//! The source and the live broker agree. `rabbitmq/definitions.json`: `generated`.

use orderflow::broker::{Management, Topology};
use orderflow_service::{
    broker::{BrokerCheck, Connector, NotReady, names},
    config::{BrokerConfig, Source},
};
use orderflow_tests::{Shop, run};
use orderflow_worker::roster;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{
    commands::{ended, with},
    doctor::doctor,
};

#[tokio::test(flavor = "multi_thread")]
async fn live_broker_matches_the_source_and_applying_again_changes_nothing() {
    let shop = Shop::open().await;
    let management = Management::new(shop.admin.clone()).expect("a client");
    let wanted = Topology::new(roster(), shop.admin.retry_delays.as_slice());
    management.apply(roster(), &wanted).await.expect("it can be applied again");
    let live = management.live().await.expect("it can be read");
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    assert_eq!(wanted.missing_from(&live), Vec::<String>::new());
    assert_eq!(live.missing_from(&wanted), Vec::<String>::new(), "the broker has objects that the source lacks");
    let queues = |topology: &Topology| sorted(topology.queues.iter().map(|queue| queue.name.clone()).collect());
    assert_eq!(queues(&live), queues(&wanted));
}

/// An older version's `topology apply` creates its policies for the queues of all services again, which must not
/// change any queue.
#[tokio::test(flavor = "multi_thread")]
async fn policies_of_earlier_versions_are_harmless_and_deleted() {
    let shop = Shop::open().await;
    let names = async || {
        let policies = shop.manage(Method::GET, "policies/{vhost}").await;
        let policies: Vec<Value> = serde_json::from_value(policies).expect("a list");
        policies.iter().filter_map(|policy| policy["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let ours = names().await;
    let policy = |pattern: &str, definition: Value| json!({ "pattern": pattern, "apply-to": "queues", "priority": 1, "definition": definition });
    let work = json!({ "dead-letter-strategy": "at-least-once", "overflow": "reject-publish", "delivery-limit": 50 });
    let work = policy("^(email|inventory|order|payment|shipping)\\.[a-z-]+$", work);
    shop.manage_with(Method::PUT, "policies/{vhost}/orderflow-work", &work).await;
    let kept = json!({ "delivery-limit": 1_000_000_000 });
    let kept = policy("^(email|inventory|order|payment|shipping)\\.[a-z-]+\\.dlq$|^orders\\.unrouted$", kept);
    shop.manage_with(Method::PUT, "policies/{vhost}/orderflow-kept", &kept).await;
    ended(&run("orderflow", &["topology", "check"], &shop.operator_settings()).await, 0, &[]);
    ended(&run("orderflow", &["topology", "apply"], &shop.operator_settings()).await, 0, &[]);
    assert_eq!(names().await, ours);
    assert!(ours.iter().any(|name| name == "orderflow-work-payment"), "{ours:?}");
    shop.close().await;
}

/// Trial C9: with `{"max-length": 50}` on every queue, RabbitMQ dropped 50 of 150 orders, and the checks found
/// nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_policies_that_alter_our_queues_are_named_with_the_queues() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let policy =
        |definition: Value| json!({ "pattern": ".*", "apply-to": "queues", "priority": 10, "definition": definition });
    let check = async || run("orderflow", &["topology", "check"], &shop.operator_settings()).await;
    shop.manage_with(Method::PUT, "policies/{vhost}/fifty", &policy(json!({ "max-length": 50 }))).await;
    // The check must not wait: RabbitMQ's own report of each queue's policy is a statistic, up to five seconds old.
    let says =
        ["policy fifty (priority 10) alters", "payment.order-created", "max-length is 50", "overflow is not set", "->"];
    ended(&check().await, 1, &says);
    let found = doctor(&shop).await;
    ended(&found, 1, &["policy fifty (priority 10)", "max-length is 50", "change the pattern"]);
    let json = run("orderflow", &["topology", "check", "--json"], &shop.operator_settings()).await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    let queues: Vec<_> = report["policies"].as_array().expect("a list").iter().map(|one| &one["queues"]).collect();
    assert!(
        queues.iter().any(|queues| queues.as_array().is_some_and(|all| all.contains(&"email.order-created".into())))
    );
    ended(&run("orderflow", &["topology", "apply"], &shop.operator_settings()).await, 1, &["policy fifty"]);
    shop.manage(Method::DELETE, "policies/{vhost}/fifty").await;
    ended(&check().await, 0, &[]);

    shop.manage_with(Method::PUT, "operator-policies/{vhost}/cap", &policy(json!({ "message-ttl": 60_000 }))).await;
    ended(&check().await, 1, &["operator policy cap alters", "message-ttl is 60000"]);
    ended(&doctor(&shop).await, 1, &["operator policy cap alters", "message-ttl is 60000"]);
    shop.manage(Method::DELETE, "operator-policies/{vhost}/cap").await;
    // A policy that does not alter our queues is not reported.
    let harmless = json!({ "pattern": ".*", "apply-to": "queues", "priority": 0, "definition": { "max-length": 50 } });
    shop.manage_with(Method::PUT, "policies/{vhost}/lower", &harmless).await;
    ended(&check().await, 0, &[]);
    ended(&doctor(&shop).await, 0, &["Nothing is wrong."]);
    shop.close().await;
}

/// Trial G10: the commands printed raw JSON of the management API.
#[tokio::test(flavor = "multi_thread")]
async fn missing_virtual_host_is_a_finding_with_its_remedy() {
    let shop = Shop::open_without_queues().await;
    let elsewhere = shop.servers.broker(None, "no_such_vhost");
    let elsewhere = with(shop.operator_settings(), &[("AMQP_ADMIN_URL", elsewhere.as_str())]);
    let says = ["RabbitMQ has no virtual host no_such_vhost.", "`orderflow topology apply` creates it"];
    for command in [&["topology", "check"][..], &["doctor"]] {
        let told = run("orderflow", command, &elsewhere).await;
        ended(&told, 1, &says);
        assert!(!told.out.contains('{') && told.err.is_empty(), "{told:?}");
    }
    let json = run("orderflow", &["topology", "check", "--json"], &elsewhere).await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, &report["ok"]), (Some(1), &false.into()), "{report}");
}

/// Commands that read RabbitMQ without checking it.
const READERS: [&[&str]; 6] = [
    &["queues"],
    &["dlq", "list"],
    &["dlq", "show", "nothing"],
    &["dlq", "replay", "--all", "--yes"],
    &["dlq", "discard", "--all", "--yes"],
    &["republish", "--missing", "--yes"],
];

/// Checks that a command which cannot read RabbitMQ reports this once, without guesses or protocol errors.
pub async fn said(command: &[&str], settings: &[(String, String)], says: &str) {
    let told = run("orderflow", command, settings).await;
    let text = format!("{} {}", told.out, told.err).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(told.code, Some(3), "{command:?}: {text}");
    assert_eq!(text.matches(says).count(), 1, "{command:?} does not say once {says:?}: {text}");
    for foreign in ["404", "NOT_ALLOWED", "SQLSTATE", "Is PostgreSQL up", "its port open", "up to five seconds old"] {
        assert!(!text.contains(foreign), "{command:?}: {text}");
    }
}

/// Related to trial G10: these commands printed RabbitMQ's own text and asked whether the port is open.
#[tokio::test(flavor = "multi_thread")]
async fn command_without_its_virtual_host_names_it_and_the_remedy() {
    let shop = Shop::open_without_queues().await;
    let elsewhere = shop.servers.broker(None, "no_such_vhost");
    let elsewhere = with(shop.operator_settings(), &[("AMQP_ADMIN_URL", elsewhere.as_str())]);
    let says = "RabbitMQ has no virtual host no_such_vhost: `orderflow topology apply` creates it";
    for command in READERS {
        said(command, &elsewhere, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_on_an_empty_virtual_host_says_so_in_one_sentence() {
    let shop = Shop::open_without_queues().await;
    shop.manage_with(Method::PUT, "vhosts/{vhost}", &json!({})).await;
    for command in READERS {
        said(command, &shop.operator_settings(), "run `orderflow topology apply`").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_no_queue_is_kept_and_not_dropped() {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    probe.publish(names::EVENTS, "order.teleported", b"{}").await;
    assert_eq!(probe.waiting(names::UNROUTED).await, 1);
    // The path from a retry tier back to a queue that was deleted meanwhile.
    probe.publish(names::RETURN, "gone.order-created", b"{}").await;
    probe.publish(names::DEAD_LETTERS, "gone.order-created", b"{}").await;
    assert_eq!(probe.waiting(names::UNROUTED).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_uses_any_node_that_answers() {
    let shop = Shop::open().await;
    let real = shop.broker_url("orderflow-worker");
    let mut away = real.clone();
    // Nothing listens on port 1 (tcpmux).
    away.set_port(Some(1)).expect("it has a port");
    let check = |urls: &[&Url]| {
        let urls = urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let source: Source = [("AMQP_URL".to_owned(), urls)].into_iter().collect();
        let connector = Connector::new(&BrokerConfig::read(&source).expect("they are URLs"), "a test");
        BrokerCheck::new(&connector).expect("a pool")
    };
    for order in [[&away, &real], [&real, &away]] {
        let check = check(&order);
        for _ in 0..2 {
            assert_eq!(check.exchange_exists().await, Ok(()));
            assert_eq!(check.queue_exists("nobody.nothing").await, Err(NotReady::Missing("nobody.nothing".to_owned())));
        }
    }
    let answer = check(&[&away, &away]).exchange_exists().await;
    assert!(matches!(answer, Err(NotReady::Unreachable(_))), "{answer:?}");
}
