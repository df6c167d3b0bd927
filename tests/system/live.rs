//! A watcher of an order receives every entry once, in order, and consistent with polling.

use std::time::Duration;

use futures::future::join_all;
use orderflow_order::store::{fold::fold, order_changes::Listener};
use orderflow_service::{config::DatabaseConfig, store::Database};
use orderflow_tests::{DECLINED, Order, Said, Shop, VISA, Watcher, Web};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

use crate::dead_letters::until_number;

/// Returns a status's place in the order's life; later statuses have greater places.
fn place(status: &Value) -> usize {
    let way = ["pending", "paid", "reserved", "cancelling", "shipped", "payment_failed", "cancelled"];
    let place = way.iter().position(|known| status == known);
    place.unwrap_or_else(|| panic!("unknown status {status}"))
}

async fn entries(web: &Web, order: &Order) -> Vec<Value> {
    let timeline = web.get_of(order, "/timeline").await;
    assert_eq!(timeline.status, StatusCode::OK, "{timeline:?}");
    timeline.body["entries"].as_array().expect("entries").clone()
}

/// Returns timeline entries in the form of live messages.
fn told(entries: &[Value]) -> Vec<Value> {
    entries.iter().map(|entry| json!({ "type": "entry", "entry": entry })).collect()
}

fn end() -> Value {
    json!({ "type": "end", "reason": "final" })
}

#[tokio::test(flavor = "multi_thread")]
async fn watcher_receives_the_snapshot_then_each_step_then_the_end() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let mut watcher = web.watch(&order, None).await;
    let snapshot = watcher.message().await;
    let pending = web.get_of(&order, "").await.body;
    let expected = json!({
        "type": "snapshot", "order_id": order.id, "version": 1, "status": "pending", "cancel_requested": false,
        "at": pending["updated_at"],
    });
    assert_eq!(snapshot, expected);
    let mut knows = web.watch(&order, Some(1)).await;
    let mut knows_nothing = web.watch(&order, Some(0)).await;

    shop.start_worker(&[]).await;
    let (messages, code) = watcher.until_closed().await;
    assert_eq!(code, Some(1000));
    let entries = entries(&web, &order).await;
    assert_eq!(entries.len(), 4);
    let all = [told(&entries), vec![end()]].concat();
    assert_eq!(messages, all[1..]);
    assert_eq!(knows.until_closed().await, (all[1..].to_vec(), Some(1000)));
    assert_eq!(knows_nothing.until_closed().await, (all.clone(), Some(1000)));

    // A watcher that connects afterwards receives the entries that it lacks, then the end.
    for (after, missed) in [(0, 5), (2, 3), (4, 1)] {
        let seen = web.watch(&order, Some(after)).await.until_closed().await;
        assert_eq!(seen, (all[5 - missed..].to_vec(), Some(1000)), "after {after}");
    }
    let shipped = web.get_of(&order, "").await.body;
    let now = json!({
        "type": "snapshot", "order_id": order.id, "version": 4, "status": "shipped", "cancel_requested": false,
        "at": shipped["updated_at"],
    });
    for after in [None, Some(5), Some(i64::from(i32::MAX))] {
        let seen = web.watch(&order, after).await.until_closed().await;
        assert_eq!(seen, (vec![now.clone(), end()], Some(1000)), "after {after:?}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_watched_only_with_its_token_and_by_websocket() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let (order, other) = (web.order("MUG-BLUE", 1, VISA).await, web.order("MUG-BLUE", 1, VISA).await);
    let unknown = Uuid::now_v7();
    for (id, token) in [
        (order.id, String::new()),
        (order.id, "nonsense".to_owned()),
        (order.id, other.token.clone()),
        (unknown, order.token.clone()),
    ] {
        let refused = web.try_watch(&Order { id, token }, None).await.err();
        let (status, problem) = refused.expect("only the order's own token opens it");
        assert_eq!((status, &problem["type"]), (404, &json!("/problems/order-not-found")));
    }
    let bearer = format!("Bearer {}", order.token);
    let path = format!("/orders/{}/live", order.id);
    let no_handshake = web.get(&path, &[("authorization", &bearer)]).await;
    assert_eq!(no_handshake.status, StatusCode::UPGRADE_REQUIRED, "{no_handshake:?}");
    assert_eq!(no_handshake.body["type"], "/problems/upgrade-required");
    assert_eq!(
        (&*no_handshake.headers["upgrade"], &*no_handshake.headers["sec-websocket-version"]),
        ("websocket", "13")
    );
    let wrong = web.get(&format!("{path}?after=x"), &[("authorization", &bearer)]).await;
    assert_eq!((wrong.status, &wrong.body["type"]), (StatusCode::BAD_REQUEST, &json!("/problems/invalid-parameter")));

    // The server closes the connection of a client that sends a message.
    let mut talks = web.watch(&order, None).await;
    talks.say("{}").await;
    let (_, code) = talks.until_closed().await;
    assert_eq!(code, Some(1003));
    shop.start_worker(&[]).await;
    shop.close().await;
}

/// The event log may be ahead of the order's status; a watcher may not, because polling must agree with it. A move that
/// nobody announces, as when the process that made it died right after its commit, still reaches watchers.
#[tokio::test(flavor = "multi_thread")]
async fn watcher_receives_each_event_once_the_status_includes_it_even_if_the_move_is_not_announced() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker_without(&["order.*"], &[]).await;
    let (order, unannounced) = (web.order("MUG-BLUE", 1, VISA).await, web.order("MUG-BLUE", 1, VISA).await);
    let (mut watcher, mut other) = (web.watch(&order, Some(1)).await, web.watch(&unannounced, Some(1)).await);
    until_number(&shop, 8, "SELECT count(*) FROM messaging.event_log").await;
    assert_eq!(entries(&web, &order).await.len(), 1);
    assert_eq!(web.watch(&order, None).await.message().await["version"], 1);
    fold(&mut shop.database().await, &[unannounced.id]).await.expect("it is moved");
    let (messages, code) = other.until_closed().await;
    assert_eq!((messages.len(), code), (4, Some(1000)), "{messages:?}");
    assert_eq!(entries(&web, &order).await.len(), 1);
    shop.start_worker(&["order.*"]).await;
    let (messages, code) = watcher.until_closed().await;
    let versions: Vec<_> = messages.iter().filter_map(|message| message["entry"]["version"].as_i64()).collect();
    assert_eq!((versions, code), (vec![2, 3, 4], Some(1000)));
    shop.close().await;
}

/// Front ends also poll, which would hide a missing notification. So this test listens for the notifications
/// themselves.
#[tokio::test(flavor = "multi_thread")]
async fn front_end_and_order_service_announce_every_move() {
    let mut shop = Shop::open().await;
    let database = DatabaseConfig::at(shop.database_url().to_string());
    let database = Database::new(&database, "listener", 1).expect("a pool");
    let listener = Listener::open(&database).await.expect("it listens");
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listening =
        tokio::spawn(listener.listen(move |orders| orders.for_each(|order| sender.send(order).expect("it is heard"))));
    let web = shop.start_web().await;
    let (cancelled, shipped) = (web.order("MUG-BLUE", 1, VISA).await, web.order("MUG-BLUE", 1, VISA).await);
    web.cancel(&cancelled).await;
    let patience = Duration::from_secs(30);
    assert_eq!(
        timeout(patience, heard.recv()).await,
        Ok(Some(cancelled.id)),
        "the front end announces the cancel request"
    );
    shop.start_worker(&[]).await;
    let by_worker = async { while heard.recv().await.expect("it listens") != shipped.id {} };
    timeout(patience, by_worker).await.expect("the order service announces the move");
    listening.abort();
    shop.close().await;
}

/// Polls as a client does: retries while the front end is too busy.
async fn ask(web: &Web, order: &Order) -> Value {
    let mut answered = Value::Null;
    orderflow_tests::until("the order is shown", async || {
        let answer = web.get_of(order, "").await;
        if answer.status != StatusCode::OK {
            return Err(answer);
        }
        answered = answer.body;
        Ok(())
    })
    .await;
    answered
}

/// Follows one order to its end and polls it after each message.
async fn follow(web: &Web, order: &Order, mut watcher: Watcher) -> Vec<Value> {
    let (mut seen, mut last) = (Vec::new(), (0, 0));
    loop {
        let message = match watcher.said().await {
            Said::Message(message) => message,
            Said::Ping => continue,
            Said::Closed(code) => {
                assert_eq!(code, Some(1000), "order {}", order.id);
                assert_eq!(seen.pop(), Some(end()), "order {}", order.id);
                return seen;
            }
        };
        let here = if message["type"] == "snapshot" { &message } else { &message["entry"] };
        if let Some(version) = here["version"].as_i64() {
            let now = (version, place(&here["status"]));
            assert!(seen.is_empty() || version == last.0 + 1, "order {}: {seen:?}, then {message}", order.id);
            assert!(now.1 >= last.1, "order {} went back: {seen:?}, then {message}", order.id);
            let asked = ask(web, order).await;
            let polled = (asked["version"].as_i64().expect("a version"), place(&asked["status"]));
            assert!(polled.0 >= now.0 && polled.1 >= now.1, "{asked} is behind {message}");
            last = now;
        }
        seen.push(message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_many_orders_see_the_same_at_each_front_end_and_nothing_after_the_end() {
    const ORDERS: usize = 60;
    let mut shop = Shop::open().await;
    let (web, other) = (shop.start_web().await, shop.start_web().await);
    shop.start_worker(&[]).await;
    let (web, other) = (&web, &other);
    let following = (0..ORDERS).map(|number| async move {
        // Shipped, declined, refused by the carrier, or cancelled; some cancels come too late.
        let (sku, method) = match number % 4 {
            1 => ("MUG-BLUE", DECLINED),
            2 => ("BATTERY-BULK", VISA),
            _ => ("MUG-BLUE", VISA),
        };
        let order = web.order(sku, 1, method).await;
        let first = web.watch(&order, None).await;
        let (second, third) = (web.watch(&order, Some(0)).await, other.watch(&order, Some(0)).await);
        if number % 4 == 3 || number % 8 == 1 {
            web.cancel(&order).await;
        }
        let (from_snapshot, all, elsewhere) =
            tokio::join!(follow(web, &order, first), follow(other, &order, second), follow(web, &order, third));
        assert_eq!(all, elsewhere, "order {}", order.id);
        let known = usize::try_from(from_snapshot[0]["version"].as_i64().expect("a version")).expect("a version");
        assert_eq!(from_snapshot[1..], all[known..], "order {}", order.id);
        (order, all)
    });
    let followed = join_all(following).await;
    shop.until_quiet().await;
    // Once everything is at rest, nothing has followed the end.
    for (order, seen) in &followed {
        assert_eq!(told(&entries(web, order).await), *seen, "order {}", order.id);
    }
    shop.close().await;
}
