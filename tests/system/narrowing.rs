//! `orderflow rights narrow`: the last step of an upgrade.

use lapin::{Connection, ConnectionProperties};
use orderflow_service::broker::names;
use orderflow_tests::{Ended, Shop, VISA, run, until};

use crate::{
    commands::{ended, with},
    doctor::doctor,
    republish::topology_apply,
    rights::may_publish,
};

async fn narrow(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["rights", "narrow"], arguments].concat(), &shop.operator_settings()).await
}

/// Connects like an older front end, which did not yet send its version in the client properties.
async fn older_front_end(shop: &Shop) -> Connection {
    let properties = ConnectionProperties::default().with_connection_name("an older front end".into());
    Connection::connect(shop.broker_url("orderflow-web").as_str(), properties).await.expect("the broker accepts it")
}

/// Returns whether front ends may publish an event type of this service. No queue is bound for the event.
async fn web_may_publish(shop: &Shop, service: &str) -> bool {
    // Channels cache permissions, so each check needs a new connection.
    let connection = older_front_end(shop).await;
    let may = may_publish(&connection, names::EVENTS, &format!("{service}.no-such")).await;
    // After a refusal the channel is still closing, which the client library reports as an error.
    drop(connection.close(200, "seen".into()).await);
    may
}

#[tokio::test(flavor = "multi_thread")]
async fn front_ends_may_publish_only_order_events_once_no_older_one_is_connected() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    shop.start_worker(&[]).await;
    let older = older_front_end(&shop).await;
    until("RabbitMQ lists the older front end", async || {
        let seen = doctor(&shop).await;
        if seen.out.contains("older front ends need this") { Ok(()) } else { Err(seen) }
    })
    .await;
    ended(&narrow(&shop, &[]).await, 1, &["Nothing was changed", "an older front end"]);
    let viewer = shop.broker_url("orderflow-viewer");
    let settings = with(shop.operator_settings(), &[("AMQP_ADMIN_URL", viewer.as_str())]);
    ended(&run("orderflow", &["rights", "narrow"], &settings).await, 2, &["requires the tag administrator"]);
    assert!(web_may_publish(&shop, "payment").await);
    older.close(200, "it was replaced".into()).await.expect("it can be closed");
    until("no older front end is listed", async || {
        let done = narrow(&shop, &[]).await;
        if done.code == Some(0) { Ok(()) } else { Err(done) }
    })
    .await;

    assert!(web_may_publish(&shop, "order").await);
    assert!(!web_may_publish(&shop, "payment").await);
    // Neither set-up nor doctor reports the narrowed rights as a fault, and orders continue.
    topology_apply(&shop).await;
    assert!(!web_may_publish(&shop, "payment").await);
    shop.probe().await.take_all(names::UNROUTED).await;
    ended(&doctor(&shop).await, 0, &["orderflow-web can publish only order.*"]);
    for process in shop.webs().drain(..) {
        process.stop().await;
    }
    let web = shop.start_web().await;
    web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 3).await;

    ended(&narrow(&shop, &["--undo"]).await, 0, &["every kind of event again"]);
    assert!(web_may_publish(&shop, "payment").await);
    ended(&narrow(&shop, &["--undo"]).await, 0, &[]);
    shop.probe().await.take_all(names::UNROUTED).await;
    shop.close().await;
}
