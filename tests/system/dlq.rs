//! Operators list, replay and discard dead letters, with `orderflow dlq` or by hand.

use std::{fs, os::unix::fs::PermissionsExt as _};

use orderflow_service::broker::{headers, names};
use orderflow_tests::{Shop, run};
use serde_json::Value;

use crate::{
    commands::{NOWHERE, ended, with},
    dead_letters::{PAYMENT, dlq, repair_payments, until_number, with_dead_orders},
};

/// Patterns of values that differ from run to run, with their replacements.
const FILTERS: [(&str, &str); 9] = [
    // Brokers count deliveries differently.
    (r"(?m)^.*x-delivery-count.*\n", ""),
    (r#"orderflow-worker @[^"\n]*"#, "orderflow-worker [place]"),
    (r"\b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b", "[trace]"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[id]"),
    (r"\b20\d\d-\d\d-\d\d(T[\d:.]+Z)?", "[date]"),
    (r"\b\d\d:\d\d:\d\d\b", "[time]"),
    (r"\b[0-9A-HJKMNP-TV-Z]{10}\b", "[number]"),
    (r"applied after [\d.]+ s", "applied after [n] s"),
    (r"/\S+/kept\.jsonl", "[file]"),
];

fn assert_shown(name: &str, text: &str) {
    insta::with_settings!({ filters => FILTERS }, { insta::assert_snapshot!(name, text) });
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_moved_back_by_hand_starts_at_attempt_one() {
    let (shop, web, orders, probe) = with_dead_orders(1).await;
    let attempts = "SELECT count(*) FROM messaging.attempts WHERE attempt";
    until_number(&shop, 3, &format!("{attempts} > 0")).await;
    // As in the management UI: get the message, and publish it to the queue through the default exchange.
    let by_hand = async || {
        let letter = probe.take(&PAYMENT.dead_letter_queue()).await;
        let headers = letter.properties.headers().clone().expect("it has headers");
        assert_eq!(headers::number(&headers, headers::ATTEMPT), Some(3), "{headers:?}");
        assert!(headers::text(&headers, headers::REASON).is_some_and(|why| why.contains("broken")), "{headers:?}");
        probe.publish_with("", &PAYMENT.queue(), &letter.data, letter.properties).await;
    };
    by_hand().await;
    until_number(&shop, 2, &format!("{attempts} = 1")).await;
    probe.until_dead(PAYMENT, 1).await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'died_again'").await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL").await;
    assert_eq!(shop.number(&format!("{attempts} = 3")).await, 2);
    repair_payments(&shop).await;
    by_hand().await;
    web.until_status(&orders[0], "shipped").await;
    // A dead letter moved by hand counts as waiting until its event is applied.
    let listed = dlq(&shop, &["list"]).await;
    ended(&listed, 0, &["No dead letters."]);
    assert!(!listed.out.contains("note:"), "{listed:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_reads_lose_nothing() {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    let bodies: Vec<Vec<u8>> = (0..5).map(|number| format!("letter {number}").into_bytes()).collect();
    for body in &bodies {
        probe.publish(names::DEAD_LETTERS, &PAYMENT.queue(), body).await;
    }
    for _ in 0..100 {
        assert_eq!(probe.look(&PAYMENT.dead_letter_queue()).await, bodies.len());
    }
    ended(&dlq(&shop, &["list"]).await, 0, &["payment.order-created.dlq: 5 dead letters"]);
    let left: Vec<_> = probe.take_all(&PAYMENT.dead_letter_queue()).await.into_iter().map(|one| one.data).collect();
    assert_eq!(left, bodies, "in the order in which they were dead-lettered");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_replayed_once_their_cause_is_fixed() {
    let (shop, _, orders, probe) = with_dead_orders(3).await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"no event").await;
    probe.until_dead(PAYMENT, 4).await;
    assert_shown("dlq_list", &dlq(&shop, &["list"]).await.out);
    let json: Value = serde_json::from_str(&dlq(&shop, &["list", "--json"]).await.out).expect("JSON");
    assert_eq!((&json["schema_version"], &json["messages"]), (&1.into(), &4.into()), "{json}");
    assert_eq!(json["groups"][0]["orders"], 3, "{json}");
    assert_shown("dlq_show_queue", &dlq(&shop, &["show", "--queue", "payment.*", "--limit", "1"]).await.out);
    let stranger = json["groups"][1]["example"].as_str().expect("an id").to_owned();
    assert_shown("dlq_show_stranger", &dlq(&shop, &["show", &stranger]).await.out);
    let one = dlq(&shop, &["show", "--queue", "payment.order-created.dlq", "--limit", "1", "--json"]).await;
    assert_shown("dlq_show_json", &one.out);
    ended(&dlq(&shop, &["show", "nonsense"]).await, 1, &["No such dead letter", "dlq list"]);

    // Missing or contradictory arguments, and selections without a match.
    ended(&dlq(&shop, &["replay", "--yes"]).await, 2, &["--all"]);
    ended(&dlq(&shop, &["replay", "--all"]).await, 2, &["--yes"]);
    ended(&dlq(&shop, &["replay", "--queue", "payments.*"]).await, 2, &["payment.order-created"]);
    ended(&dlq(&shop, &["replay", "--queue", "email.*", "--yes"]).await, 1, &["No dead letter matches"]);
    ended(&dlq(&shop, &["replay", "--order", "0000000000", "--yes"]).await, 1, &["there is no order 0000000000"]);
    let dry = dlq(&shop, &["replay", "--queue", "payment.*", "--dry-run"]).await;
    assert_shown("dlq_replay_dry_run", &dry.out);
    assert_eq!(dry.code, Some(0));

    // The cause is not fixed yet: the first is dead-lettered again, and no other is replayed.
    let stopped = dlq(&shop, &["replay", "--reason", "broken", "--yes"]).await;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert_shown("dlq_replay_stopped", &stopped.out);
    probe.until_dead(PAYMENT, 4).await;
    until_number(&shop, 3 * 3 + 3 + 1, "SELECT count(*) FROM messaging.attempts").await;

    repair_payments(&shop).await;
    let id = orders[0].id.to_string();
    let replayed = dlq(&shop, &["replay", "--order", &id, "--yes", "--json"]).await;
    ended(&replayed, 0, &[]);
    let report: Value = serde_json::from_str(&replayed.out).expect("JSON");
    assert_eq!(report["messages"][0]["outcome"], "applied", "{report}");
    assert_eq!((&report["selected"], &report["messages"][0]["order_id"]), (&1.into(), &id.into()), "{report}");
    let replayed = dlq(&shop, &["replay", "--reason", "broken", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_shown("dlq_replay", &replayed.out);
    shop.until_orders("shipped", 3).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'replayed'").await, 3 + 1);
    shop.close_with_dead_letters(&[(PAYMENT, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_dead_letters_are_kept_in_a_file() {
    let (shop, ..) = with_dead_orders(2).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kept.jsonl");
    let file = path.to_str().expect("text");
    ended(&dlq(&shop, &["discard", "--all"]).await, 2, &["--yes"]);
    ended(&dlq(&shop, &["discard", "--yes"]).await, 2, &["--all"]);
    let no_such = directory.path().join("nowhere/kept.jsonl");
    let refused = dlq(&shop, &["discard", "--all", "--yes", "--file", no_such.to_str().expect("text")]).await;
    ended(&refused, 2, &["nowhere/kept.jsonl", "nothing was discarded"]);
    let discarded = dlq(&shop, &["discard", "--all", "--yes", "--file", file]).await;
    assert_eq!(discarded.code, Some(0), "{discarded:?}");
    assert_shown("dlq_discard", &discarded.out);
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let kept: Vec<Value> = fs::read_to_string(&path)
        .expect("it can be read")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(kept.len(), 2);
    for letter in &kept {
        assert_eq!(letter["body"]["id"], letter["message_id"], "{letter}");
        assert_eq!(letter["headers"][headers::QUEUE], "payment.order-created");
    }
    // An existing file is never overwritten.
    ended(&dlq(&shop, &["discard", "--all", "--yes", "--file", file]).await, 1, &["No dead letter matches"]);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'discarded'").await, 2);
    ended(&dlq(&shop, &["list"]).await, 0, &["No dead letters."]);
    // Discarded deliveries do not count as missing.
    let settings = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &settings).await, 0, &["Nothing is missing."]);
    // Their payments were never applied, so this shop never becomes quiet.
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_servers_and_missing_queues_are_reported() {
    let shop = Shop::open().await;
    let operator = shop.operator_settings();
    let broker = format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow");
    let no_broker = with(operator.clone(), &[("AMQP_ADMIN_URL", &broker)]);
    let database = format!("postgres://orderflow:hush@{NOWHERE}/orderflow");
    let no_database = with(operator.clone(), &[("DATABASE_URL", &database)]);
    for command in [&["dlq", "list"][..], &["dlq", "replay", "--all", "--yes"], &["republish", "--missing"]] {
        let refused = run("orderflow", command, &no_broker).await;
        ended(&refused, 3, &["RabbitMQ"]);
        assert!(!refused.err.contains("hush"), "{refused:?}");
        let refused = run("orderflow", command, &[]).await;
        ended(&refused, 2, &["AMQP_ADMIN_URL is not set", "DATABASE_URL is not set"]);
    }
    let probe = shop.probe().await;
    probe.publish(names::DEAD_LETTERS, &PAYMENT.queue(), b"no event").await;
    // Listing does not need the database; replaying does, since only the database knows what was applied.
    ended(&run("orderflow", &["dlq", "list"], &no_database).await, 3, &["1 dead letter", "database cannot be read"]);
    ended(&run("orderflow", &["dlq", "replay", "--all", "--yes"], &no_database).await, 3, &[]);
    probe.until_dead(PAYMENT, 1).await;
    probe.delete_queue("email.order-created.dlq").await;
    ended(&dlq(&shop, &["list"]).await, 3, &["RabbitMQ has no queue email.order-created.dlq: run", "1 dead letter"]);
}
