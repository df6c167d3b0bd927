//! Dead letters in the operators' API: listed, replayed and discarded.

use orderflow_tests::{Order, Probe, Shop, until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    admin::{ADA, Operators, RITA, refused, start_web_for_operators},
    commands::ended,
    dead_letters::{PAYMENT, STRANGER, discard, dlq, repair_payments, until_number, with_dead_orders},
};

const QUEUE: &str = "payment.order-created";

/// Like [`with_dead_orders`], with operators.
async fn with_operators(count: usize) -> (Shop, Operators, Vec<Order>, Probe) {
    let (mut shop, _, orders, probe) = with_dead_orders(count).await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    (shop, operators, orders, probe)
}

/// Starts a replay and returns its path.
pub async fn begin(operators: &Operators, asked: Value) -> String {
    let answer = operators.act(Method::POST, "/admin/replays", asked).await;
    assert_eq!(answer.status.as_u16(), 202, "{answer:?}");
    answer.headers["location"].clone()
}

/// Waits until a replay has ended in this state.
pub async fn until_ended(operators: &Operators, path: &str, wanted: &str) -> Value {
    let mut last = Value::Null;
    until(&format!("{path} is {wanted}"), async || {
        last = operators.get(path).await;
        let state = last["state"].as_str().unwrap_or_default();
        assert!(state == "running" || state == wanted, "{last}");
        if state == wanted { Ok(()) } else { Err(last.clone()) }
    })
    .await;
    last
}

fn counts(replay: &Value) -> [i64; 4] {
    ["selected", "sent", "applied", "died_again"].map(|name| replay[name].as_i64().expect("a number"))
}

/// Returns the latest actions and their outcomes, from the list of actions.
async fn last_actions<const N: usize>(operators: &Operators) -> [[String; 2]; N] {
    let audit = operators.get("/admin/audit").await;
    std::array::from_fn(|index| {
        ["what", "outcome"].map(|name| audit["items"][index][name].as_str().unwrap_or("").into())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_stops_when_its_canary_fails_and_succeeds_once_the_cause_is_fixed() {
    let (shop, operators, orders, probe) = with_operators(4).await;
    invalid_requests_are_refused_without_effect(&operators).await;
    let letters = operators.get("/admin/dead-letters?limit=2").await;
    assert_eq!((&letters["messages"], &letters["groups"][0]["messages"]), (&json!(4), &json!(4)), "{letters}");
    assert!(letters["groups"][0]["reason"].as_str().is_some_and(|reason| reason.contains("broken")), "{letters}");
    assert_eq!(letters["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(letters["items"][0]["body"]["id"], letters["items"][0]["message_id"]);
    let rest = operators.get("/admin/dead-letters?limit=2&cursor=2").await;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(2), &Value::Null));
    let one = operators.get(&format!("/admin/dead-letters?order={}", orders[0].id)).await;
    assert_eq!((&one["messages"], &one["items"][0]["order_id"]), (&json!(1), &json!(orders[0].id)));
    let asked = json!({ "queue": QUEUE, "reason": letters["groups"][0]["reason"] });

    // A dry run reports the plan and does nothing.
    let mut dry = asked.clone();
    dry["dry_run"] = true.into();
    let plan = operators.act(Method::POST, "/admin/replays", dry).await;
    assert_eq!((&plan.body["selected"], &plan.body["already_applied"]), (&json!(4), &json!(0)), "{plan:?}");
    assert_eq!(operators.get("/admin/replays").await["items"], json!([]));
    probe.until_dead(PAYMENT, 4).await;

    // The cause is not fixed yet.
    let path = begin(&operators, asked.clone()).await;
    let stopped = until_ended(&operators, &path, "stopped").await;
    assert_eq!(counts(&stopped), [4, 1, 0, 1], "{stopped}");
    assert!(stopped["reason"].as_str().is_some_and(|why| why.contains("died again")), "{stopped}");
    let expected = [["dead-letters.replay", "stopped"], ["dead-letters.replay", "begun"]];
    assert_eq!(last_actions::<2>(&operators).await, expected);
    probe.until_dead(PAYMENT, 4).await;

    repair_payments(&shop).await;
    // The command records its replays in the same list.
    let id = orders[0].id.to_string();
    ended(&dlq(&shop, &["replay", "--order", &id, "--yes"]).await, 0, &["1 applied"]);
    let audit = operators.get("/admin/audit").await;
    let rows: Vec<_> = ["role", "outcome"].into_iter().map(|name| audit["items"][0][name].clone()).collect();
    assert_eq!(rows, [json!("command"), json!("done")], "{audit}");
    assert_eq!(audit["items"][0]["details"]["applied"], 1, "{audit}");
    assert_eq!(audit["items"][0]["request_id"], audit["items"][1]["request_id"], "{audit}");

    let mut two_first = asked;
    two_first["canary"] = 2.into();
    let path = begin(&operators, two_first).await;
    let done = until_ended(&operators, &path, "done").await;
    assert_eq!((counts(&done), &done["who"], &done["reason"]), ([3, 3, 3, 0], &json!("ada"), &Value::Null), "{done}");
    shop.until_orders("shipped", 4).await;
    let listed = operators.get("/admin/replays").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    let nothing = begin(&operators, json!({ "queue": QUEUE })).await;
    assert_eq!(counts(&until_ended(&operators, &nothing, "stopped").await), [0, 0, 0, 0]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_has_one_replay_at_a_time_and_a_stopped_or_killed_process_does_not_block_the_next() {
    let (mut shop, operators, _, probe) = with_operators(6).await;
    let (_, others) = start_web_for_operators(&mut shop, &[]).await;
    repair_payments(&shop).await;
    let asked = json!({ "queue": QUEUE, "rate": 1 });
    let path = begin(&operators, asked.clone()).await;
    let id = path.rsplit('/').next().expect("an id").to_owned();
    for other in [&operators, &others] {
        let second = other.act(Method::POST, "/admin/replays", asked.clone()).await;
        refused(&second, 409, "replay-in-progress", &id);
    }
    // A replay of another queue may run concurrently. Another process reports the progress of this one.
    begin(&others, json!({ "queue": "email.order-created" })).await;
    // The replay continues without a connected client.
    drop(operators);
    until("some are replayed", async || {
        let replay = others.get(&path).await;
        if replay["sent"].as_i64() >= Some(2) { Ok(()) } else { Err(replay) }
    })
    .await;
    // The first front end is the one of `with_dead_orders`.
    shop.webs().remove(1).stop().await;
    let stopped = until_ended(&others, &path, "stopped").await;
    assert!(stopped["reason"].as_str().is_some_and(|why| why.contains("stopping")), "{stopped}");
    let left = 6 - counts(&stopped)[1];
    assert!(left >= 1, "{stopped}");
    // Dead letters that were not replayed are back in their queue.
    until("the dead letters that were not replayed are requeued", async || {
        let waiting = i64::from(probe.waiting(&PAYMENT.dead_letter_queue()).await);
        // One message may have been republished while its original was still in the queue.
        if (left..=left + 1).contains(&waiting) { Ok(()) } else { Err(waiting) }
    })
    .await;
    // The row of a replay whose process was killed more than a minute ago.
    shop.execute(
        "INSERT INTO operations.replays (replay_id, queue, who, request_id, selection, state, updated_at)
         VALUES ('0198f1c2-7c00-7000-8000-000000000001', 'payment.order-created', 'ada', gen_random_uuid(), '{}',
                 'running', now() - interval '61 seconds')",
    )
    .await;
    let path = begin(&others, json!({ "queue": QUEUE })).await;
    until_ended(&others, &path, "done").await;
    let gone = others.get("/admin/replays/0198f1c2-7c00-7000-8000-000000000001").await;
    assert_eq!(gone["state"], "abandoned", "{gone}");
    shop.until_orders("shipped", 6).await;
    probe.until_dead(PAYMENT, 0).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_dead_letters_are_kept_and_recorded() {
    let (shop, operators, _, probe) = with_operators(2).await;
    probe.publish(orderflow_service::broker::names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.until_dead(PAYMENT, 3).await;
    let asked = json!({ "queue": QUEUE, "reason": "no such event" });
    let mut dry = asked.clone();
    dry["dry_run"] = true.into();
    let plan = operators.act(Method::POST, "/admin/discards", dry).await;
    assert_eq!((&plan.body["selected"], &plan.body["discarded"]), (&json!(1), &json!(0)), "{plan:?}");
    probe.until_dead(PAYMENT, 3).await;

    let thrown = operators.act(Method::POST, "/admin/discards", asked.clone()).await;
    assert_eq!((thrown.status.as_u16(), &thrown.body["discarded"]), (200, &json!(1)), "{thrown:?}");
    assert_eq!(thrown.body["unavailable"], json!([]));
    probe.until_dead(PAYMENT, 2).await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'discarded'").await;
    let kept = operators.get("/admin/discards").await;
    let body: Value = serde_json::from_slice(STRANGER).expect("JSON");
    assert_eq!(kept["items"][0]["letter"]["body"], body, "{kept}");
    assert_eq!(kept["items"][0]["request_id"], thrown.body["request_id"]);
    let expected = [["dead-letters.discard", "done"], ["dead-letters.discard", "begun"]];
    assert_eq!(last_actions::<2>(&operators).await, expected);
    refused(&operators.act(Method::POST, "/admin/discards", asked).await, 404, "dead-letters-not-found", "");

    // The command records its actions in the same list.
    ended(&discard(&shop, &["--queue", QUEUE, "--limit", "1"]).await, 0, &[]);
    let audit = operators.get("/admin/audit").await;
    assert_eq!((&audit["items"][0]["role"], &audit["items"][0]["outcome"]), (&json!("command"), &json!("done")));
    assert_eq!(audit["items"][1]["details"]["limit"], 1, "{audit}");
    // If the action cannot be recorded, nothing is discarded.
    shop.execute("ALTER TABLE operations.actions ADD CONSTRAINT broken CHECK (false) NOT VALID").await;
    let refused = operators.act(Method::POST, "/admin/discards", json!({ "queue": QUEUE })).await;
    assert_eq!(refused.status.as_u16(), 500, "{refused:?}");
    probe.until_dead(PAYMENT, 1).await;
    assert_eq!(shop.number("SELECT count(*) FROM operations.discarded").await, 1, "nothing more is kept either");
    shop.execute("ALTER TABLE operations.actions DROP CONSTRAINT broken").await;
    repair_payments(&shop).await;
    // One order's charge was discarded, so this shop never becomes quiet.
    shop.close_with_dead_letters(&[(PAYMENT, 1)]).await;
}

async fn invalid_requests_are_refused_without_effect(operators: &Operators) {
    for (body, says) in [
        (json!({}), "queue"),
        (json!({ "queue": "payment.*" }), "full name"),
        (json!({ "queue": QUEUE, "canary": 0 }), "canary"),
        (json!({ "queue": QUEUE, "rate": 1_001 }), "rate"),
        (json!({ "queue": QUEUE, "patience_seconds": 601 }), "patience_seconds"),
        (json!({ "queue": QUEUE, "limit": 0 }), "limit"),
        (json!({ "queue": QUEUE, "all": true }), "all"),
    ] {
        refused(&operators.act(Method::POST, "/admin/replays", body).await, 422, "invalid-request", says);
    }
    for (body, says) in [(json!({ "queue": QUEUE, "limit": 1_001 }), "limit"), (json!({ "queue": "x" }), "full name")] {
        refused(&operators.act(Method::POST, "/admin/discards", body).await, 422, "invalid-request", says);
    }
    // An e-mail address would be recorded permanently; no valid value contains a zero byte.
    for (name, value, says) in [
        ("order", json!("ada@example.org"), "id or number"),
        ("reason", json!("\0"), "zero byte"),
        ("messages", json!(["\0"]), "zero byte"),
    ] {
        for path in ["/admin/replays", "/admin/discards"] {
            for dry_run in [true, false] {
                let body = json!({ "queue": QUEUE, "dry_run": dry_run, name: value });
                let answer = operators.act(Method::POST, path, body).await;
                refused(&answer, 422, "invalid-request", says);
                assert!(!answer.body.to_string().contains("ada@"), "{answer:?}");
            }
        }
    }
    assert_eq!(operators.get("/admin/replays").await["items"], json!([]));
    let unknown = operators.ask(ADA, Method::GET, "/admin/replays/0198f1c2-7c00-7000-8000-000000000001", None).await;
    refused(&unknown, 404, "replay-not-found", "/admin/replays");
    let wrong = operators.ask(RITA, Method::GET, "/admin/dead-letters?queue=nonsense", None).await;
    refused(&wrong, 400, "invalid-parameter", "payment.order-created");
    assert_eq!(operators.get("/admin/audit").await["items"], json!([]));
}
