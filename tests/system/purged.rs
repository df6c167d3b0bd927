//! Dead letters purged by hand are detected, and republished on an operator's command; discarded ones never are.

use std::time::Duration;

use orderflow_service::{
    broker::names,
    store::{
        missing::{self, Pair, Whereabouts},
        purged::{self, Became},
    },
};
use orderflow_tests::{Ended, Probe, Shop, run};
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    commands::{ended, with},
    dead_letters::{PAYMENT, STRANGER, discard, repair_payments, until_number, with_dead_orders},
    doctor::doctor,
    rights::{self, INSPECTOR, REMOVE},
    why::json,
};

/// Runs `republish --missing` with every event old enough to count as missing.
async fn republish(shop: &Shop, arguments: &[&str]) -> Ended {
    let settings = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    run("orderflow", &[&["republish", "--missing"], arguments].concat(), &settings).await
}

/// Purges payment's dead-letter queue as the inspector may in the management UI.
async fn purge(shop: &Shop, probe: &Probe) {
    let status = rights::purge(shop, INSPECTOR, &PAYMENT.dead_letter_queue()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    probe.until_dead(PAYMENT, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_remedy_republishes_purged_dead_letters() {
    let (shop, web, orders, probe) = with_dead_orders(1).await;
    // The event log does not have this event, so it cannot be republished.
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.until_dead(PAYMENT, 2).await;
    until_number(&shop, 2, "SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL").await;
    let says =
        ["payment.order-created: 2 listed as dead letters", "not sent: payment.order-created.dlq has 2 messages"];
    ended(&republish(&shop, &["--purged", "--yes"]).await, 1, &says);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);

    // The inspector may also remove messages by getting them.
    let (status, taken) = rights::get(&shop, INSPECTOR, &PAYMENT.dead_letter_queue(), REMOVE).await;
    assert_eq!((status, taken.as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{taken}");
    probe.until_dead(PAYMENT, 0).await;
    repair_payments(&shop).await;
    let found = doctor(&shop).await;
    ended(&found, 1, &["1 finding:", "The index names 2 dead letters that payment.order-created.dlq does not hold."]);
    assert_eq!(json(&shop, &orders[0]).await["waiting_for"][0]["state"], "parked");
    ended(&republish(&shop, &["--yes"]).await, 0, &["Nothing is missing."]);
    insta::assert_snapshot!("purged_dry_run", republish(&shop, &["--purged", "--dry-run"]).await.out);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL").await, 2);

    let text = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let remedy = text.split('`').find(|part| part.starts_with("orderflow republish")).expect("a command");
    let remedy: Vec<&str> = remedy.split(' ').chain(["--yes"]).collect();
    let sent = run(remedy[0], &remedy[1..], &shop.operator_settings()).await;
    ended(&sent, 0, &["\n1 sent.\n1 taken off the list of dead letters.\n"]);
    web.until_status(&orders[0], "shipped").await;
    shop.until_quiet().await;
    for left_by in ["republished", "purged"] {
        let left = format!("SELECT count(*) FROM messaging.dead_letters WHERE left_by = '{left_by}'");
        assert_eq!(shop.number(&left).await, 1, "{left_by}");
    }
    let told = json(&shop, &orders[0]).await;
    let nothing = Value::Array(Vec::new());
    assert_eq!((&told["waiting_for"], &told["dead_letters"]), (&nothing, &nothing));
    ended(&doctor(&shop).await, 0, &["Nothing is wrong."]);
    ended(&republish(&shop, &["--purged", "--yes"]).await, 0, &["Nothing is missing."]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn republish_killed_before_it_recorded_what_it_sent_can_be_repeated() {
    let (mut shop, web, orders, probe) = with_dead_orders(1).await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    purge(&shop, &probe).await;
    repair_payments(&shop).await;
    ended(&republish(&shop, &["--purged", "--yes"]).await, 0, &["1 sent."]);
    probe.until_waiting(&PAYMENT.queue(), 1).await;
    let wait = json(&shop, &orders[0]).await["waiting_for"][0]["what"].clone();
    assert!(wait.as_str().is_some_and(|wait| wait.contains("purged") && wait.contains("republished")), "{wait}");
    shop.execute("UPDATE messaging.dead_letters SET left_at = NULL, left_by = NULL").await;
    ended(&republish(&shop, &["--purged", "--yes"]).await, 1, &["1 message waits in it", "--force"]);
    let json = republish(&shop, &["--purged", "--queue", "payment.*", "--force", "--yes", "--json"]).await;
    ended(&json, 0, &[]);
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    let queue = &report["queues"][0];
    assert_eq!((&queue["missing"], &queue["purged"], &queue["sent"]), (&0.into(), &1.into(), &1.into()), "{report}");
    probe.until_waiting(&PAYMENT.queue(), 2).await;
    shop.start_worker(&[]).await;
    web.until_status(&orders[0], "shipped").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_dead_letter_is_not_republished() {
    let (shop, _, _, probe) = with_dead_orders(1).await;
    ended(&discard(&shop, &["--all"]).await, 0, &[]);
    probe.until_dead(PAYMENT, 0).await;
    ended(&republish(&shop, &["--purged", "--yes"]).await, 0, &["Nothing is missing."]);
    // Not even if the index lists it twice: it was moved back by hand, failed again and was then purged.
    shop.execute(
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         SELECT event_id, subscription, 1, 'test', 'test', now() FROM messaging.dead_letters",
    )
    .await;
    ended(&republish(&shop, &["--purged", "--yes"]).await, 0, &["Nothing is missing."]);
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

/// One event for each state that a listed dead letter may be in.
const WAYS: [&str; 5] = ["waiting", "applied", "discarded", "tried again", "died again since"];

fn event(way: &str) -> Uuid {
    let place = WAYS.iter().position(|one| *one == way).expect("it is one of them");
    Uuid::from_u128(u128::try_from(place).expect("a few") + 1)
}

async fn list_one_of_each(shop: &Shop) {
    for way in WAYS {
        let id = event(way);
        let more = match way {
            "applied" => format!("INSERT INTO messaging.inbox (event_id, subscription) VALUES ('{id}', '{PAYMENT}')"),
            "discarded" => format!(
                "UPDATE messaging.dead_letters SET left_at = now(), left_by = 'discarded' WHERE event_id = '{id}'"
            ),
            "tried again" => format!(
                "INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at, retry_at)
                 VALUES ('{id}', '{PAYMENT}', 1, 'test', 'test', now(), now() + interval '1 hour')"
            ),
            _ => "SELECT".to_owned(),
        };
        shop.execute(&format!(
            "INSERT INTO messaging.event_log
                 (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
             VALUES (gen_random_uuid(), 1, '{id}', 'order.created', '/orderflow/web', now(), gen_random_uuid(), '{{}}')"
        ))
        .await;
        shop.execute(&format!(
            "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
             VALUES ('{id}', '{PAYMENT}', 1, 'test', 'test', now() - interval '1 minute')"
        ))
        .await;
        shop.execute(&more).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_dead_letters_without_a_later_outcome_count_as_purged() {
    let shop = Shop::open_without_queues().await;
    list_one_of_each(&shop).await;
    let mut connection = shop.database().await;
    let (arrival, queues) = (Duration::from_secs(300), [PAYMENT.queue()]);
    let listed = purged::listed(&mut connection, &queues, arrival, 10).await.expect("the query succeeds");
    let events: Vec<_> = listed.iter().filter_map(|one| one.event_id).collect();
    assert_eq!(events, [event("waiting"), event("died again since")]);
    let first = purged::listed(&mut connection, &queues, arrival, 1).await.expect("the query succeeds");
    assert_eq!(first.len(), 1);
    let elsewhere = purged::listed(&mut connection, &["email.order-created".to_owned()], arrival, 10).await;
    assert_eq!(elsewhere.expect("the query succeeds"), []);

    let pairs = WAYS.map(|way| Pair { event_id: event(way), subscription: PAYMENT.queue() });
    let looked = missing::recheck(&mut connection, &pairs, arrival).await.expect("the query succeeds");
    let is = |way: &str| looked.iter().find(|one| one.pair.event_id == event(way)).map(|one| one.whereabouts);
    assert_eq!(
        WAYS.map(is),
        [Some(Whereabouts::Dead), None, Some(Whereabouts::Discarded), Some(Whereabouts::Dead), Some(Whereabouts::Dead)]
    );

    // A failure during the republish is another dead letter.
    shop.execute(&format!(
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         VALUES ('{}', '{PAYMENT}', 1, 'test', 'test', now())",
        event("died again since")
    ))
    .await;
    let ids: Vec<_> = listed.iter().map(|one| one.id).collect();
    purged::take_off(&mut connection, &ids, Became::Republished).await.expect("it can be written");
    let listed = purged::listed(&mut connection, &queues, arrival, 10).await.expect("the query succeeds");
    assert_eq!(listed.iter().filter_map(|one| one.event_id).collect::<Vec<_>>(), [event("died again since")]);
}
