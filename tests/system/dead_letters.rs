//! What fails is remembered, and what is dead a person sees, sends again or throws away; nothing is lost on the way.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use lapin::{BasicProperties, types::AMQPValue};
use orderflow::{
    broker::{Subscription, headers, names},
    store::failures,
};
use orderflow_tests::{Child, Ended, Order, Probe, Proxy, Shop, VISA, Web, run, until};
use serde_json::Value;

use crate::commands::{NOWHERE, ended, with};

const PAYMENT: Subscription = Subscription::PaymentOrderCreated;

/// An event of an order that does not exist, which payment rejects at once.
const STRANGER: &[u8] = include_bytes!("../../docs/events/orders.order-created.v1.json");

/// What differs from run to run, by what it is.
pub fn redacted(text: &str) -> String {
    let is_of_word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '.' | '_');
    let hex = |word: &str| word.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    let number = |word: &str| word.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit());
    let date = |word: &str| word.len() >= 10 && word.starts_with("20") && word[4..].starts_with('-');
    let clock = |word: &str| word.len() == 8 && word.matches(':').count() == 2;
    let mut redacted = String::new();
    for line in text.split_inclusive('\n') {
        // How often a message was delivered, the broker counts in its own way; a worker's place ends its line.
        if line.contains("x-delivery-count") {
            continue;
        }
        if let Some((before, place)) = line.split_once("orderflow-worker @") {
            let end = place.trim_start_matches(|one: char| !matches!(one, '"' | '\n'));
            redacted.push_str(&format!("{before}orderflow-worker [place]{end}"));
            continue;
        }
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let end = if is_of_word(first) {
                rest.find(|character| !is_of_word(character)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (word, after) = rest.split_at(end);
            let bare = word.trim_end_matches(['.', ':']);
            let shown = match bare {
                id if id.len() == 36 && hex(id) => format!("[id]{}", &word[id.len()..]),
                number_ if number_.len() == 10 && number(number_) => "[number]".to_owned(),
                time if date(time) => "[date]".to_owned(),
                time if clock(time) => "[time]".to_owned(),
                trace if trace.starts_with("00-") && trace.len() == 55 => "[trace]".to_owned(),
                _ => word.to_owned(),
            };
            redacted.push_str(&shown);
            rest = after;
        }
    }
    redacted
}

/// Runs `orderflow dlq …` as the operator.
async fn dlq(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["dlq"], arguments].concat(), &shop.operator_settings()).await
}

async fn until_dead(probe: &Probe, subscription: Subscription, wanted: u32) {
    let queue = subscription.dead_letter_queue();
    until(&format!("{wanted} messages are in {queue}"), async || {
        let count = probe.waiting(&queue).await;
        if count == wanted { Ok(()) } else { Err(count) }
    })
    .await;
}

async fn until_number(shop: &Shop, wanted: i64, sql: &str) {
    until(&format!("{sql} is {wanted}"), async || {
        let number = shop.number(sql).await;
        if number == wanted { Ok(()) } else { Err(number) }
    })
    .await;
}

/// Makes every payment fail when it is written down: a fault that an operator can mend.
async fn break_payments(shop: &Shop) {
    shop.execute("ALTER TABLE payment.payments ADD CONSTRAINT broken CHECK (false) NOT VALID").await;
}

async fn mend_payments(shop: &Shop) {
    shop.execute("ALTER TABLE payment.payments DROP CONSTRAINT broken").await;
}

/// This many orders whose payment is in the dead-letter queue.
async fn with_dead_orders(count: usize) -> (Shop, Web, Vec<Order>, Probe) {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    break_payments(&shop).await;
    shop.start_worker(&[]).await;
    let orders = web.orders(count, "MUG-BLUE", VISA).await;
    let probe = shop.probe().await;
    let wanted = u32::try_from(count).expect("not that many");
    until_dead(&probe, PAYMENT, wanted).await;
    until_number(&shop, i64::from(wanted), "SELECT count(*) FROM messaging.dead_letters").await;
    (shop, web, orders, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failed_attempt_and_every_dead_letter_is_written_down() {
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
    // The tiers of the tests: 200 ms after the first, a second after the second.
    for (attempt, milliseconds) in [(1, 200), (2, 1_000)] {
        let waited =
            format!("SELECT extract(milliseconds FROM retry_at - failed_at) {of_order} AND attempt = {attempt}");
        assert_eq!(shop.number(&waited).await, milliseconds);
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0);

    let probe = shop.probe().await;
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"{\"type\":\"\\u0000\"}").await;
    until_dead(&probe, PAYMENT, 2).await;
    let dead = "SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL AND attempt = 1
                AND worker LIKE 'orderflow-worker @%' AND subscription = 'payment.order-created'";
    let stranger: Value = serde_json::from_slice(STRANGER).expect("it is JSON");
    let by_id = format!(
        "{dead} AND event_id = '{}' AND reason = 'there is no such order'",
        stranger["id"].as_str().expect("an id")
    );
    until_number(&shop, 1, &by_id).await;
    until_number(&shop, 1, &format!("{dead} AND event_id IS NULL")).await;
    until_number(&shop, 2, "SELECT count(*) FROM messaging.attempts WHERE retry_at IS NULL").await;
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_a_failed_message_is_safe_and_is_written_down_later() {
    let mut shop = Shop::open().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    shop.start_worker_with(&[], &[("DATABASE_URL", wire.through(&url).as_str())]).await;
    wire.cut().await;
    let probe = shop.probe().await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"no event").await;
    until_dead(&probe, PAYMENT, 1).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0);
    wire.mend().await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters").await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.attempts").await, 1);
    // Its work queue is empty, of what a worker holds too, or this fails.
    shop.close_with_dead_letters(&[(PAYMENT, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_moved_back_by_hand_starts_again_at_the_first_attempt() {
    let (shop, web, orders, probe) = with_dead_orders(1).await;
    let attempts = "SELECT count(*) FROM messaging.attempts WHERE attempt";
    until_number(&shop, 3, &format!("{attempts} > 0")).await;
    // As the management UI does it: taken, and published to the queue by the default exchange.
    let by_hand = async || {
        let letter = probe.take(&PAYMENT.dead_letter_queue()).await;
        let headers = letter.properties.headers().clone().expect("it has headers");
        assert_eq!(headers::number(&headers, headers::ATTEMPT), Some(3), "{headers:?}");
        assert!(headers::text(&headers, headers::REASON).is_some_and(|why| why.contains("broken")), "{headers:?}");
        probe.publish_with("", &PAYMENT.queue(), &letter.data, letter.properties).await;
    };
    by_hand().await;
    until_number(&shop, 2, &format!("{attempts} = 1")).await;
    until_dead(&probe, PAYMENT, 1).await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'died_again'").await;
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NULL").await;
    assert_eq!(shop.number(&format!("{attempts} = 3")).await, 2);
    mend_payments(&shop).await;
    by_hand().await;
    web.until_status(&orders[0], "shipped").await;
    // What a person moved counts as waiting until its event is applied.
    let listed = dlq(&shop, &["list"]).await;
    ended(&listed, 0, &["No dead letters."]);
    assert!(!listed.out.contains("note:"), "{listed:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_looks_lose_nothing() {
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
    assert_eq!(left, bodies, "in the order in which they died");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_sent_again_when_their_cause_is_mended() {
    let (shop, _, orders, probe) = with_dead_orders(3).await;
    probe.publish(names::RETURN, &PAYMENT.queue(), b"no event").await;
    until_dead(&probe, PAYMENT, 4).await;
    insta::assert_snapshot!("dlq_list", redacted(&dlq(&shop, &["list"]).await.out));
    let json: Value = serde_json::from_str(&dlq(&shop, &["list", "--json"]).await.out).expect("JSON");
    assert_eq!((&json["schema_version"], &json["messages"]), (&1.into(), &4.into()), "{json}");
    assert_eq!(json["groups"][0]["orders"], 3, "{json}");
    insta::assert_snapshot!(
        "dlq_show_queue",
        redacted(&dlq(&shop, &["show", "--queue", "payment.*", "--limit", "1"]).await.out)
    );
    let stranger = json["groups"][1]["example"].as_str().expect("an id").to_owned();
    insta::assert_snapshot!("dlq_show_stranger", redacted(&dlq(&shop, &["show", &stranger]).await.out));
    let one = dlq(&shop, &["show", "--queue", "payment.order-created.dlq", "--limit", "1", "--json"]).await;
    insta::assert_snapshot!("dlq_show_json", redacted(&one.out));
    ended(&dlq(&shop, &["show", "nonsense"]).await, 1, &["No such dead letter", "dlq list"]);

    // Asking for too little, for too much, and for nothing that there is.
    ended(&dlq(&shop, &["replay", "--yes"]).await, 2, &["--all"]);
    ended(&dlq(&shop, &["replay", "--all"]).await, 2, &["--yes"]);
    ended(&dlq(&shop, &["replay", "--queue", "payments.*"]).await, 2, &["payment.order-created"]);
    ended(&dlq(&shop, &["replay", "--queue", "email.*", "--yes"]).await, 1, &["No dead letter is like that"]);
    ended(&dlq(&shop, &["replay", "--order", "0000000000", "--yes"]).await, 1, &["there is no order 0000000000"]);
    let dry = dlq(&shop, &["replay", "--queue", "payment.*", "--dry-run"]).await;
    insta::assert_snapshot!("dlq_replay_dry_run", redacted(&dry.out));
    assert_eq!(dry.code, Some(0));

    // Nothing is mended yet: the first dies again, and no other is sent.
    let stopped = dlq(&shop, &["replay", "--reason", "broken", "--yes"]).await;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    insta::assert_snapshot!("dlq_replay_stopped", redacted(&stopped.out));
    until_dead(&probe, PAYMENT, 4).await;
    until_number(&shop, 3 * 3 + 3 + 1, "SELECT count(*) FROM messaging.attempts").await;

    mend_payments(&shop).await;
    let id = orders[0].id.to_string();
    let replayed = dlq(&shop, &["replay", "--order", &id, "--yes", "--json"]).await;
    ended(&replayed, 0, &[]);
    let report: Value = serde_json::from_str(&replayed.out).expect("JSON");
    assert_eq!(report["messages"][0]["outcome"], "applied", "{report}");
    assert_eq!((&report["selected"], &report["messages"][0]["order_id"]), (&1.into(), &id.into()), "{report}");
    let replayed = dlq(&shop, &["replay", "--reason", "broken", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let text = redacted(&replayed.out);
    let (before, after) = text.split_once("was applied after ").expect("the first one is told");
    let after = after.split_once(" s.").expect("how long").1;
    insta::assert_snapshot!("dlq_replay", format!("{before}was applied after [n] s.{after}"));
    shop.until_orders("shipped", 3).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'replayed'").await, 3 + 1);
    shop.close_with_dead_letters(&[(PAYMENT, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_thrown_away_is_kept_in_a_file() {
    let (shop, ..) = with_dead_orders(2).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kept.jsonl");
    let file = path.to_str().expect("text");
    ended(&dlq(&shop, &["discard", "--all"]).await, 2, &["--yes"]);
    ended(&dlq(&shop, &["discard", "--yes"]).await, 2, &["--all"]);
    let no_such = directory.path().join("nowhere/kept.jsonl");
    let refused = dlq(&shop, &["discard", "--all", "--yes", "--file", no_such.to_str().expect("text")]).await;
    ended(&refused, 2, &["nowhere/kept.jsonl", "nothing was thrown away"]);
    let discarded = dlq(&shop, &["discard", "--all", "--yes", "--file", file]).await;
    assert_eq!(discarded.code, Some(0), "{discarded:?}");
    insta::assert_snapshot!("dlq_discard", redacted(&discarded.out.replace(file, "[file]")));
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
    // A file that is there is never written over.
    ended(&dlq(&shop, &["discard", "--all", "--yes", "--file", file]).await, 1, &["No dead letter is like that"]);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'discarded'").await, 2);
    ended(&dlq(&shop, &["list"]).await, 0, &["No dead letters."]);
    // What a person threw away is not missing.
    let settings = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &settings).await, 0, &["Nothing is missing."]);
    // Their payments were never applied, so this shop never becomes quiet.
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_touches_only_what_was_there_keeps_its_rate_and_stops_at_a_death() {
    let (shop, _, _, probe) = with_dead_orders(6).await;
    // Payment rejects this one for good; it lies behind the six.
    probe.publish(names::RETURN, &PAYMENT.queue(), STRANGER).await;
    until_dead(&probe, PAYMENT, 7).await;
    mend_payments(&shop).await;
    let began = Instant::now();
    let arguments = ["dlq", "replay", "--reason", "broken", "--rate", "2", "--yes", "--patience", "1m"];
    let replay = Child::start("orderflow", &arguments, &shop.operator_settings());
    shop.until_orders("shipped", 1).await;
    // Dies while the replay runs, of the same reason.
    let table = [(headers::REASON, AMQPValue::LongString("broken".into()))].map(|(name, value)| (name.into(), value));
    let newcomer = BasicProperties::default().with_headers(std::collections::BTreeMap::from(table).into());
    probe.publish_with(names::DEAD_LETTERS, &PAYMENT.queue(), b"a newcomer", newcomer).await;
    let mut replay = replay;
    assert!(replay.ended().await.success());
    // Five after the first, two a second.
    assert!(began.elapsed().as_secs_f64() >= 2.0, "six were sent in {:?}", began.elapsed());
    shop.until_orders("shipped", 6).await;
    until_dead(&probe, PAYMENT, 2).await;

    // The stranger dies again at once: nothing is sent after that. It is the first, or the newcomer is.
    let stopped = dlq(&shop, &["replay", "--all", "--rate", "1", "--yes"]).await;
    ended(&stopped, 1, &["Stopped: the first one", "died again", "no such order", "1 was not sent"]);
    until_dead(&probe, PAYMENT, 2).await;
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}

/// Seen before: a message whose batch was still being split when it came back from its retry tier was taken for a
/// repetition of itself, and acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn none_of_a_batch_that_fails_is_lost_on_its_way_through_the_retries() {
    let (shop, ..) = with_dead_orders(20).await;
    mend_payments(&shop).await;
    let replayed = dlq(&shop, &["replay", "--all", "--yes", "--rate", "1000"]).await;
    ended(&replayed, 0, &["20 messages sent: 20 applied"]);
    shop.until_orders("shipped", 20).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_in_the_middle_of_a_replay_stops_it() {
    let (shop, _, _, probe) = with_dead_orders(1).await;
    let stranger: Value = serde_json::from_slice(STRANGER).expect("it is JSON");
    for _ in 0..5 {
        let body = STRANGER.to_vec();
        let id = uuid::Uuid::now_v7().to_string();
        let body = String::from_utf8(body).expect("text").replace(stranger["id"].as_str().expect("an id"), &id);
        probe.publish(names::RETURN, &PAYMENT.queue(), body.as_bytes()).await;
    }
    until_dead(&probe, PAYMENT, 6).await;
    mend_payments(&shop).await;
    let stopped = dlq(&shop, &["replay", "--all", "--rate", "1", "--yes", "--json"]).await;
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    let report: Value = serde_json::from_str(&stopped.out).expect("JSON");
    let outcomes: Vec<_> =
        report["messages"].as_array().expect("messages").iter().filter_map(|one| one["outcome"].as_str()).collect();
    let count = |wanted: &str| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count("applied"), count("died_again") + count("waiting") + count("not_sent")), (1, 5), "{report}");
    assert!(count("died_again") >= 1 && count("not_sent") >= 1, "{report}");
    assert!(report["stopped"].as_str().is_some_and(|why| why.contains("died again")), "{report}");
    until_dead(&probe, PAYMENT, 5).await;
    shop.close_with_dead_letters(&[(PAYMENT, 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_neither_applied_nor_dies_is_told_and_the_rest_waits() {
    let (mut shop, _, _, probe) = with_dead_orders(2).await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    let stopped = dlq(&shop, &["replay", "--all", "--yes", "--patience", "1s"]).await;
    ended(&stopped, 1, &["neither applied nor did it die within 1s", "is a worker running", "1 was not sent"]);
    assert_eq!(probe.waiting(&PAYMENT.queue()).await, 1);
    assert_eq!(probe.waiting(&PAYMENT.dead_letter_queue()).await, 1);
    mend_payments(&shop).await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    ended(&dlq(&shop, &["replay", "--all", "--yes"]).await, 0, &["1 applied"]);
    shop.until_orders("shipped", 2).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_or_is_not_there_is_said() {
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
    // Looking does not need the database; sending again does, since only it knows what was applied.
    ended(&run("orderflow", &["dlq", "list"], &no_database).await, 3, &["1 dead letter", "database cannot be asked"]);
    ended(&run("orderflow", &["dlq", "replay", "--all", "--yes"], &no_database).await, 3, &[]);
    until_dead(&probe, PAYMENT, 1).await;
    probe.delete_queue("email.order-created.dlq").await;
    ended(&dlq(&shop, &["list"]).await, 3, &["email.order-created.dlq does not exist", "1 dead letter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_attempts_are_forgotten_and_younger_ones_are_not() {
    let shop = Shop::open().await;
    shop.execute(
        "INSERT INTO messaging.attempts (subscription, attempt, reason, worker, failed_at)
         SELECT 'payment.order-created', 1, 'test', 'test', now() - day * interval '1 day'
         FROM generate_series(1, 100) AS day",
    )
    .await;
    let mut connection = shop.database().await;
    assert_eq!(failures::forget_old(&mut connection, 4).await.expect("it can be done"), 4);
    while failures::forget_old(&mut connection, 4).await.expect("it can be done") > 0 {}
    assert_eq!(shop.number("SELECT count(*) FROM messaging.attempts").await, 89, "the youngest");
}
