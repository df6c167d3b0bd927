//! A replay is careful: it includes only the dead letters present at its start, keeps its rate, and stops if the cause
//! is not fixed.

use std::time::Instant;

use lapin::{BasicProperties, types::AMQPValue};
use orderflow_service::broker::{headers, names};
use orderflow_tests::Child;
use serde_json::Value;

use crate::{
    commands::ended,
    dead_letters::{PAYMENT, STRANGER, dlq, repair_payments, with_dead_orders},
};

#[tokio::test(flavor = "multi_thread")]
async fn replay_includes_only_what_was_there_keeps_its_rate_and_stops_at_a_failure() {
    let (shop, _, _, probe) = with_dead_orders(6).await;
    // Payment rejects this event permanently; it is behind the six in the queue.
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.until_dead(PAYMENT, 7).await;
    repair_payments(&shop).await;
    let began = Instant::now();
    let arguments = ["dlq", "replay", "--reason", "broken", "--rate", "2", "--yes", "--patience", "1m"];
    let replay = Child::start("orderflow", &arguments, &shop.operator_settings());
    shop.until_orders("shipped", 1).await;
    // Dead-lettered while the replay runs, for the same reason.
    let table = [(headers::REASON, AMQPValue::LongString("broken".into()))].map(|(name, value)| (name.into(), value));
    let newcomer = BasicProperties::default().with_headers(std::collections::BTreeMap::from(table).into());
    probe.publish_with(names::DEAD_LETTERS, &PAYMENT.queue(), b"a newcomer", newcomer).await;
    let mut replay = replay;
    assert!(replay.ended().await.success());
    // Five after the first, two a second.
    assert!(began.elapsed().as_secs_f64() >= 2.0, "six were replayed in {:?}", began.elapsed());
    shop.until_orders("shipped", 6).await;
    probe.until_dead(PAYMENT, 2).await;

    // The first one, the stranger or the newcomer, is dead-lettered again immediately; nothing is replayed after it.
    let stopped = dlq(&shop, &["replay", "--all", "--rate", "1", "--yes"]).await;
    ended(&stopped, 1, &["Stopped: the first one", "died again", "the event log has no such event", "1 was not sent"]);
    probe.until_dead(PAYMENT, 2).await;
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}

/// Once a message returned from its retry tier while its batch was still being split. The worker mistook it for a
/// duplicate of itself and acknowledged it.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_a_failing_batch_is_lost_in_the_retries() {
    let (shop, ..) = with_dead_orders(20).await;
    repair_payments(&shop).await;
    let replayed = dlq(&shop, &["replay", "--all", "--yes", "--rate", "1000"]).await;
    ended(&replayed, 0, &["20 messages sent: 20 applied"]);
    shop.until_orders("shipped", 20).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_in_the_middle_of_a_replay_stops_it() {
    let (shop, _, _, probe) = with_dead_orders(1).await;
    let stranger: Value = serde_json::from_slice(STRANGER).expect("it is JSON");
    for _ in 0..5 {
        let body = STRANGER.to_vec();
        let id = uuid::Uuid::now_v7().to_string();
        let body = String::from_utf8(body).expect("text").replace(stranger["id"].as_str().expect("an id"), &id);
        probe.publish(names::RETURN, &PAYMENT.queue(), body.as_bytes()).await;
    }
    probe.until_dead(PAYMENT, 6).await;
    repair_payments(&shop).await;
    let stopped = dlq(&shop, &["replay", "--all", "--rate", "1", "--yes", "--json"]).await;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    let report: Value = serde_json::from_str(&stopped.out).expect("JSON");
    let outcomes: Vec<_> =
        report["messages"].as_array().expect("messages").iter().filter_map(|one| one["outcome"].as_str()).collect();
    let count = |wanted: &str| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count("applied"), count("died_again") + count("waiting") + count("not_sent")), (1, 5), "{report}");
    assert!(count("died_again") >= 1 && count("not_sent") >= 1, "{report}");
    assert!(report["stopped"].as_str().is_some_and(|why| why.contains("died again")), "{report}");
    probe.until_dead(PAYMENT, 5).await;
    shop.close_with_dead_letters(&[(PAYMENT, 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_without_an_outcome_is_reported_and_the_rest_waits() {
    let (mut shop, _, _, probe) = with_dead_orders(2).await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    let stopped = dlq(&shop, &["replay", "--all", "--yes", "--patience", "1s"]).await;
    ended(&stopped, 1, &["neither applied nor dead-lettered within 1s", "is a worker running", "1 was not sent"]);
    assert_eq!(probe.waiting(&PAYMENT.queue()).await, 1);
    assert_eq!(probe.waiting(&PAYMENT.dead_letter_queue()).await, 1);
    repair_payments(&shop).await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    ended(&dlq(&shop, &["replay", "--all", "--yes"]).await, 0, &["1 applied"]);
    shop.until_orders("shipped", 2).await;
    shop.close().await;
}
