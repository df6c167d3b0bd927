//! Services in examples/, registered at a shop whose programs do not know them.

use orderflow_tests::{Child, Shop, VISA, Web, run, until};
use reqwest::Method;
use serde_json::json;

use crate::{
    commands::{ended, with},
    republish::topology_apply,
};

/// A user of RabbitMQ for this service alone: it gets its own queues' messages, and publishes where services do.
async fn own_user(shop: &Shop, service: &str) -> String {
    let (user, password) = (format!("{}-{service}", shop.name()), "for this test alone");
    let body = json!({ "password": password, "tags": "" });
    shop.manage_with(Method::PUT, &format!("users/{user}"), &body).await;
    let rights = json!({
        "configure": "^$", "write": "^orders\\.(events|dlx|return|retry\\..+)$", "read": format!("^{service}\\.[a-z0-9-]+$"),
    });
    shop.manage_with(Method::PUT, &format!("permissions/{{vhost}}/{user}"), &rights).await;
    let mut url = shop.broker_url("orderflow-worker");
    url.set_username(&user).and_then(|()| url.set_password(Some(password))).expect("it has a host");
    url.to_string()
}

async fn remove_user(shop: &Shop, service: &str) {
    shop.manage(Method::DELETE, &format!("users/{}-{service}", shop.name())).await;
}

async fn register(shop: &Shop, arguments: &[&str]) {
    let all = [&["service", "register"], arguments].concat();
    ended(&run("orderflow", &all, &shop.operator_settings()).await, 0, &["is registered"]);
    topology_apply(shop).await;
}

/// The loyalty service is built on the library alone. While it is away, no customer and no order notices; when it comes it
/// catches up, and the event that it publishes is folded by programs that do not know its kind.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_rust_is_added_to_a_running_shop() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    shop.start_worker(&[]).await;
    register(
        &shop,
        &["loyalty", "--event", "shipment.created", "--publishes", "loyalty.points-booked", "--tracks", "inbox"],
    )
    .await;
    let orders = web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;
    let seen = web.get_of(&orders[0], "").await;
    assert_eq!((seen.body["status"].as_str(), seen.body["version"].as_i64()), (Some("shipped"), Some(4)));

    let settings = with(shop.settings("orderflow-worker"), &[("AMQP_URL", &own_user(&shop, "loyalty").await)]);
    let early = run("loyalty", &[], &settings).await;
    ended(&early, 2, &["not up to date"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &["migrated loyalty/20261129000001"]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &[]);
    let mut loyalty = Child::start("loyalty", &[], &settings);
    let health = Web::new(loyalty.address().await);
    until("it is ready", async || {
        let answer = health.get("/readyz", &[]).await;
        if answer.status.is_success() { Ok(()) } else { Err(answer) }
    })
    .await;
    shop.workers().push(loyalty);
    until("all points are booked and folded", async || {
        let points = shop.number("SELECT count(*) FROM loyalty.bookings WHERE points > 0").await;
        let folded = shop.number("SELECT count(*) FROM orders.orders WHERE version = 5 AND status = 'shipped'").await;
        if (points, folded) == (5, 5) { Ok(()) } else { Err((points, folded)) }
    })
    .await;
    assert_eq!(web.events(&orders[0]).await.last().map(String::as_str), Some("loyalty.points-booked"));
    assert_eq!(probe.waiting("orders.unrouted").await, 0);
    let operator = shop.operator_settings();
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &operator).await, 0, &[]);
    ended(&run("orderflow", &["doctor"], &operator).await, 0, &["Nothing is wrong."]);
    let impatient = with(operator, &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &impatient).await, 0, &["Nothing is missing."]);
    remove_user(&shop, "loyalty").await;
    shop.close().await;
}
