//! External services, registered with `orderflow service register`.

use orderflow_service::broker::names;
use orderflow_tests::{Shop, VISA, run, until};
use reqwest::Method;
use serde_json::Value;

use crate::{
    commands::{ended, with},
    dead_letters::discard,
    open_kinds::BOOKED,
    republish::topology_apply,
};

/// Registers a loyalty service and creates its queue.
async fn register_loyalty(shop: &Shop, tracks: &str) {
    let arguments = ["service", "register", "loyalty", "--event", "shipment.created"];
    let publishes = ["--publishes", "loyalty.points-booked", "--tracks", tracks];
    let registered = run("orderflow", &[&arguments[..], &publishes].concat(), &shop.operator_settings()).await;
    ended(&registered, 0, &["loyalty.shipment-created", "orderflow topology apply"]);
    topology_apply(shop).await;
}

/// Returns the policies of the shop's queues and the users' permissions.
async fn broker_settings(shop: &Shop) -> [Value; 2] {
    [shop.manage(Method::GET, "policies/{vhost}").await, shop.manage(Method::GET, "vhosts/{vhost}/permissions").await]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_includes_a_registered_service_until_it_is_removed() {
    let mut shop = Shop::open().await;
    let settings = shop.operator_settings();
    register_loyalty(&shop, "none").await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.until_orders("shipped", 1).await;
    probe.until_waiting("loyalty.shipment-created", 1).await;
    ended(&run("orderflow", &["service", "list"], &settings).await, 0, &["loyalty", "registered", "shipment.created"]);
    ended(&run("orderflow", &["queues"], &settings).await, 0, &["loyalty.shipment-created"]);
    ended(&run("orderflow", &["topology", "check"], &settings).await, 0, &["as they should be"]);
    ended(
        &run("orderflow", &["doctor"], &settings).await,
        1,
        &["Nobody consumes loyalty.shipment-created (1 message)"],
    );
    let impatient = with(settings.clone(), &[("RECONCILE_AFTER", "1ms")]);
    let republish = run("orderflow", &["republish", "--missing", "--yes"], &impatient).await;
    ended(&republish, 0, &["Nothing is missing.", "Not tracked: loyalty.shipment-created."]);
    let id = order.id.to_string();
    ended(&run("orderflow", &["why", &id], &settings).await, 0, &["Not tracked", "loyalty.shipment-created"]);
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &settings).await, 0, &[]);

    // A `topology apply` without a database, like one of an earlier version, must not remove anything.
    let before = broker_settings(&shop).await;
    let without_database: Vec<_> = settings.iter().filter(|(name, _)| name != "DATABASE_URL").cloned().collect();
    let apply = run("orderflow", &["topology", "apply"], &without_database).await;
    ended(&apply, 0, &["as they should be"]);
    assert!(apply.err.contains("left out: DATABASE_URL is missing"), "{apply:?}");
    assert_eq!(broker_settings(&shop).await, before);

    ended(&run("orderflow", &["doctor"], &settings).await, 1, &["the program of a service that runs elsewhere"]);
    ended(&run("orderflow", &["why", &id], &settings).await, 0, &["loyalty.shipment-created"]);

    // An untracked service reports no outcome, so the replay sends all messages without waiting. Only the service
    // itself could keep an index of its dead letters.
    let letter = probe.take("loyalty.shipment-created").await;
    for _ in 0..3 {
        probe
            .publish_with(names::DEAD_LETTERS, "loyalty.shipment-created", &letter.data, letter.properties.clone())
            .await;
    }
    ended(&run("orderflow", &["dlq", "list"], &settings).await, 0, &["loyalty.shipment-created"]);
    let doctor = run("orderflow", &["doctor"], &settings).await;
    ended(&doctor, 1, &["3 dead letters need attention"]);
    assert!(!doctor.out.contains("index"), "{doctor:?}");
    let replay = ["dlq", "replay", "--queue", "loyalty.*", "--yes"];
    ended(&run("orderflow", &replay, &settings).await, 0, &["3 messages sent: 3 sent, not tracked."]);
    assert_eq!(probe.waiting("loyalty.shipment-created").await, 3);
    for _ in 0..3 {
        let again = probe.take("loyalty.shipment-created").await;
        probe.publish_with(names::DEAD_LETTERS, "loyalty.shipment-created", &again.data, again.properties).await;
    }
    ended(&discard(&shop, &["--queue", "loyalty.*"]).await, 0, &["3"]);

    let other = ["service", "register", "loyalty", "--event", "order.created"];
    ended(
        &run("orderflow", &other, &settings).await,
        0,
        &["no longer uses these queues", "loyalty.shipment-created.dlq"],
    );
    register_loyalty(&shop, "none").await;
    ended(
        &run("orderflow", &["service", "remove", "loyalty"], &settings).await,
        0,
        &["delete loyalty.shipment-created"],
    );
    ended(&run("orderflow", &["service", "remove", "loyalty"], &settings).await, 1, &["No service loyalty"]);
    let list = run("orderflow", &["service", "list"], &settings).await;
    assert!(!list.out.contains("loyalty"), "{list:?}");
    for queue in ["loyalty.shipment-created", "loyalty.shipment-created.dlq"] {
        probe.delete_queue(queue).await;
    }
    shop.close().await;
}

/// Invalid arguments are refused with an explanation, and nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_service_is_refused_with_a_remedy() {
    let shop = Shop::open().await;
    let settings = shop.operator_settings();
    for (arguments, expected) in [
        (&["Loyalty", "--event", "order.created"][..], "expected 2 to 30 lower-case letters"),
        (&["payment", "--event", "order.created"], "payment is a service of these programs"),
        (&["orders", "--event", "order.created"], "reserved"),
        (&["loyalty", "--event", "order.creatde"], "no service publishes it; known events: order.created"),
        (&["loyalty", "--event", "*"], "no service publishes it"),
        (&["loyalty", "--event", "order.created", "--publishes", "payment.completed"], "named loyalty.WHAT"),
        (&["loyalty", "--event", "order.created", "--publishes", "loyalty."], "named loyalty.WHAT"),
        (&["loyalty", "--event", "order.created", "--publishes", "loyalty.a.b"], "named loyalty.WHAT"),
    ] {
        let refused = run("orderflow", &[&["service", "register"], arguments].concat(), &settings).await;
        ended(&refused, 2, &[expected]);
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.services").await, 0);
    let list = run("orderflow", &["service", "list", "--json"], &settings).await;
    let list: Value = serde_json::from_str(&list.out).expect("JSON");
    assert!(list["services"].as_array().is_some_and(|all| all.iter().all(|one| one["registered"] == false)), "{list}");
}

/// The last event of the order has a type that these programs do not know, and nothing of theirs follows. The order
/// service must still consume it, so that the order's version matches its log. It once stayed behind, and the event
/// was unroutable.
#[tokio::test(flavor = "multi_thread")]
async fn order_keeps_up_with_events_of_external_services() {
    let mut shop = Shop::open().await;
    register_loyalty(&shop, "inbox").await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "shipped").await;
    shop.execute(&BOOKED.replace("'ORDER'", &format!("'{}'", order.id))).await;
    until("the order has reached the event's version", async || {
        let seen = web.get_of(&order, "").await;
        let version = seen.body["version"].as_i64();
        if version == Some(5) && seen.body["status"] == "shipped" { Ok(()) } else { Err(seen.body) }
    })
    .await;
    let applied = "SELECT count(*) FROM messaging.inbox WHERE subscription = 'order.other'";
    until("the inbox records it", async || {
        let count = shop.number(applied).await;
        if count == 1 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(probe.waiting(names::UNROUTED).await, 0);
    // A missing delivery is detected, because the service is registered with an inbox.
    let impatient = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    probe.take("loyalty.shipment-created").await;
    let missing = run("orderflow", &["republish", "--missing", "--yes"], &impatient).await;
    ended(&missing, 0, &["loyalty.shipment-created: 1 missing", "1 sent."]);
    for queue in ["loyalty.shipment-created", "loyalty.shipment-created.dlq"] {
        probe.delete_queue(queue).await;
    }
    ended(&run("orderflow", &["service", "remove", "loyalty"], &shop.operator_settings()).await, 0, &[]);
    shop.close().await;
}
