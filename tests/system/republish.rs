//! Workers and operators republish the deliveries lost with a queue; a backlog does not count as missing.

use std::time::Duration;

use diesel_async::AsyncConnection as _;
use orderflow_service::{
    Subscription,
    broker::{Message, names},
    store::{
        StoreError, event_log, failures,
        missing::{self, Claimed, Limits, Pair},
    },
};
use orderflow_tests::{Ended, Probe, Shop, VISA, queues, run, until};
use serde_json::Value;
use uuid::Uuid;

use crate::commands::{ended, with};

pub const EMAIL: Subscription = queues::EMAIL_ORDER_CREATED;

/// Short enough for a test, long enough that no delivery in progress counts as missing.
const AFTER: (&str, &str) = ("RECONCILE_AFTER", "3s");

pub async fn topology_apply(shop: &Shop) {
    ended(&run("orderflow", &["topology", "apply"], &shop.operator_settings()).await, 0, &[]);
}

/// Opens a shop with three shipped orders whose first mails wait for a worker.
pub async fn without_three_first_mails() -> (Shop, Probe) {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&[&EMAIL.queue()], &[]).await;
    web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 3).await;
    until("only the first mails are missing", async || {
        let applied =
            shop.number("SELECT count(*) FROM messaging.inbox WHERE subscription LIKE 'email.shipment%'").await;
        let folded = shop.number("SELECT count(*) FROM messaging.inbox WHERE subscription LIKE 'order.%'").await;
        if (applied, folded) == (3, 9) { Ok(()) } else { Err((applied, folded)) }
    })
    .await;
    (shop, probe)
}

/// Returns the number of mails that confirm the receipt of an order.
async fn first_mails(shop: &Shop) -> i64 {
    shop.number("SELECT count(*) FROM email.mails WHERE kind = 'received' AND sent_at IS NOT NULL").await
}

/// Waits until the last worker has checked for missing deliveries `times` more times and found this many unapplied.
async fn until_looked(shop: &mut Shop, times: usize, unapplied: usize) {
    let worker = shop.workers().last_mut().expect("it runs");
    let said = format!("searched for missing deliveries unapplied={unapplied}");
    let looks = |log: Vec<String>| log.iter().filter(|line| line.contains(&said)).count();
    let before = looks(worker.log());
    until(&format!("{times} checks that found {unapplied} unapplied"), async || {
        let seen = looks(worker.log()) - before;
        if seen >= times { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_republish_the_messages_of_a_deleted_queue_and_no_backlog() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&[&EMAIL.queue()], &[AFTER]).await;
    web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;
    shop.until_published().await;
    // No worker consumes the queue: the inbox lacks all five deliveries, but they are not lost.
    until_looked(&mut shop, 6, 5).await;
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 5);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);

    probe.delete_queue(&EMAIL.queue()).await;
    // Nothing is sent to a queue that does not exist.
    until_looked(&mut shop, 6, 5).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);
    topology_apply(&shop).await;
    probe.until_waiting(&EMAIL.queue(), 5).await;
    let line = shop.workers().last_mut().expect("it runs").until_logged("missing deliveries were republished").await;
    assert!(line.contains("email.order-created") && line.contains("deliveries=5"), "{line}");
    // The deliveries wait there now and are not sent a second time.
    until_looked(&mut shop, 6, 5).await;
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 5);
    assert_eq!(shop.number("SELECT sum(times) FROM messaging.resent").await, 5);

    shop.start_worker_with(&[&EMAIL.queue()], &[AFTER]).await;
    shop.until_quiet().await;
    assert_eq!(first_mails(&shop).await, 5);
    shop.close().await;
}

/// A service may be another team's program: only its own workers know its subscriptions.
#[tokio::test(flavor = "multi_thread")]
async fn worker_republishes_only_what_its_own_services_miss() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&["email.*"], &[AFTER]).await;
    web.orders(2, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 2).await;
    shop.until_published().await;
    probe.delete_queue(&EMAIL.queue()).await;
    topology_apply(&shop).await;
    until_looked(&mut shop, 6, 0).await;
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);
    shop.start_worker_with(&["email.*"], &[AFTER]).await;
    shop.until_quiet().await;
    assert_eq!((first_mails(&shop).await, shop.number("SELECT count(*) FROM messaging.resent").await), (2, 2));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unrecorded_dead_letter_is_not_republished() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker_without(&[&EMAIL.queue()], &[AFTER]).await;
    web.order("MUG-BLUE", 1, VISA).await;
    probe.until_waiting(&EMAIL.queue(), 1).await;
    // RabbitMQ dead-letters a message like this, without a record, after it has ended too many workers.
    let letter = probe.take(&EMAIL.queue()).await;
    probe.publish_with(names::DEAD_LETTERS, &EMAIL.queue(), &letter.data, letter.properties).await;
    let line = shop.workers().last_mut().expect("it runs").until_logged("holds messages without a record").await;
    assert!(line.contains("email.order-created") && line.contains("orderflow dlq list"), "{line}");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);
    shop.start_worker(&[&EMAIL.queue()]).await;
    ended(&run("orderflow", &["dlq", "replay", "--all", "--yes"], &shop.operator_settings()).await, 0, &["1 applied"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn republish_command_restores_the_messages_of_a_deleted_queue() {
    let (mut shop, probe) = without_three_first_mails().await;
    // As if five minutes had passed.
    let settings = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    let republish = async |arguments: &[&str]| -> Ended {
        run("orderflow", &[&["republish", "--missing"], arguments].concat(), &settings).await
    };
    ended(&run("orderflow", &["republish", "--missing"], &shop.operator_settings()).await, 0, &["Nothing is missing."]);
    let waiting = republish(&["--yes"]).await;
    ended(&waiting, 1, &["email.order-created: 3 missing", "3 messages wait in it", "--force"]);
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 3);

    probe.delete_queue(&EMAIL.queue()).await;
    ended(&republish(&["--yes"]).await, 1, &["email.order-created does not exist", "orderflow topology apply"]);
    topology_apply(&shop).await;
    insta::assert_snapshot!("republish_dry_run", republish(&["--dry-run"]).await.out);
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 0);
    ended(&republish(&[]).await, 2, &["--yes"]);
    ended(&republish(&["--queue", "payment.*", "--yes"]).await, 0, &["Nothing is missing."]);
    ended(&republish(&["--since", "1ms", "--yes"]).await, 0, &["Nothing is missing."]);
    let sent = republish(&["--queue", "email.*", "--yes"]).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    insta::assert_snapshot!("republish", sent.out);
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 3);

    // Send them a second time although they wait there: the inbox applies each only once.
    let forced = republish(&["--force", "--yes", "--json"]).await;
    ended(&forced, 0, &[]);
    let report: Value = serde_json::from_str(&forced.out).expect("JSON");
    assert_eq!((&report["queues"][0]["missing"], &report["queues"][0]["sent"]), (&3.into(), &3.into()), "{report}");
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 6);
    shop.start_worker(&[&EMAIL.queue()]).await;
    shop.until_quiet().await;
    ended(&republish(&["--yes"]).await, 0, &["Nothing is missing."]);
    assert_eq!(first_mails(&shop).await, 3);
    probe.until_waiting(&EMAIL.queue(), 0).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn republished_event_is_byte_for_byte_the_original() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    let tap = probe.tap().await;
    shop.start_worker(&[]).await;
    web.orders(2, "MUG-BLUE", VISA).await;
    web.order("MUG-BLUE", 1, orderflow_tests::DECLINED).await;
    shop.until_quiet().await;
    let published = probe.take_all(&tap).await;
    assert_eq!(published.len(), 2 * 4 + 2);
    let mut connection = shop.database().await;
    for first in published {
        let id: Uuid = first.properties.message_id().as_ref().expect("an id").as_str().parse().expect("a UUID");
        let again = event_log::outgoing(&mut connection, &[id]).await.expect("the log can be read");
        let again = Message::event(again.first().expect("it is in the log")).expect("it was published before");
        assert_eq!((again.body, again.properties), (first.data, first.properties));
        assert_eq!(again.routing_key, first.routing_key.as_str());
    }
    probe.delete_queue(&tap).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_is_republished_five_times_with_growing_delays_by_one_process() {
    let shop = Shop::open_without_queues().await;
    let (mut one, mut other) = (shop.database().await, shop.database().await);
    let pair = Pair { event_id: Uuid::from_u128(1), subscription: EMAIL.queue() };
    let (pairs, limits, distance) = (vec![pair.clone()], Limits { times: 5, at_once: 10 }, Duration::from_secs(300));
    let back = async |minutes: i32| {
        shop.execute(&format!("UPDATE messaging.resent SET last_at = last_at - interval '{minutes} minutes'")).await;
    };
    for times in 1..=5 {
        let claimed = missing::claim(&mut one, &pairs, limits, distance).await.expect("the query succeeds");
        assert_eq!(claimed, Claimed { mine: [pair.clone()].into(), ..Claimed::default() });
        back(5 * 2_i32.pow(times) - 1).await;
        let claimed = missing::claim(&mut other, &pairs, limits, distance).await.expect("the query succeeds");
        assert_eq!(claimed, Claimed::default(), "too early after {times} times");
        back(2).await;
    }
    let claimed = missing::claim(&mut one, &pairs, limits, distance).await.expect("the query succeeds");
    assert_eq!(claimed, Claimed { given_up: [pair.clone()].into(), ..Claimed::default() });
    let many: Vec<_> = (2..32).map(|id| Pair { event_id: Uuid::from_u128(id), ..pair.clone() }).collect();
    let claimed = missing::claim(&mut one, &many, limits, distance).await.expect("the query succeeds");
    assert_eq!(claimed.mine.len(), 10);
    // An attempt that the broker did not accept does not count.
    let unsent: Vec<_> = claimed.mine.into_iter().collect();
    missing::unclaim(&mut one, &unsent).await.expect("it can be released");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent WHERE times = 0").await, 10);

    let alone = one
        .transaction::<_, StoreError, _>(async |connection| {
            let first = missing::be_the_only_one(connection, "email").await?;
            let second = other
                .transaction::<_, StoreError, _>(async |other| missing::be_the_only_one(other, "email").await)
                .await?;
            Ok((first, second))
        })
        .await;
    assert_eq!(alone.expect("the query succeeds"), (true, false));
    assert!(failures::waiting(&mut one).await.expect("the query succeeds").is_empty());
}
