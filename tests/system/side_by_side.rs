//! Programs of different versions work side by side, as during every upgrade.

use std::path::PathBuf;

use orderflow::broker::{Management, Topology};
use orderflow_tests::{
    Child, Shop, VISA, Web,
    examples::LOYALTY,
    grown,
    project::{read, root},
    run, until,
};

use crate::commands::{ended, with};

/// Waits until this many orders have shipped and are folded to this version.
async fn until_folded(shop: &Shop, orders: i64, version: i32) {
    let folded = format!("SELECT count(*) FROM orders.orders WHERE status = 'shipped' AND version = {version}");
    until("every order has shipped and is folded to its last event", async || {
        let count = shop.number(&folded).await;
        if count == orders { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Waits until a started worker is ready, and adds it to the shop.
async fn start_worker(shop: &mut Shop, mut worker: Child) {
    let health = Web::new(worker.address().await);
    until("it is ready", async || {
        let answer = health.get("/readyz", &[]).await;
        if answer.status.is_success() { Ok(()) } else { Err(answer) }
    })
    .await;
    shop.workers().push(worker);
}

async fn stop_workers(shop: &mut Shop) {
    for worker in std::mem::take(shop.workers()) {
        worker.stop().await;
    }
}

pub async fn nothing_is_wrong(shop: &Shop) {
    let operator = shop.operator_settings();
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &operator).await, 0, &[]);
    let impatient = with(operator, &[("RECONCILE_AFTER", "1ms")]);
    ended(&run("orderflow", &["republish", "--missing"], &impatient).await, 0, &["Nothing is missing."]);
    assert_eq!(shop.probe().await.waiting("orders.unrouted").await, 0);
}

/// Two builds of this code, one with an event type that the other does not list, share a shop in any order.
#[tokio::test(flavor = "multi_thread")]
async fn builds_with_different_lists_of_kinds_share_a_shop() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let grown = grown::roster();
    let longer = Topology::new(&grown, shop.admin.retry_delays.as_slice());
    Management::new(shop.admin.clone()).expect("a client").apply(&grown, &longer).await.expect("it can be applied");
    // Its user must read the queue of a service that only this build has.
    let administrator = shop.servers.broker(None, shop.name());
    let settings = with(shop.settings("orderflow-worker"), &[("AMQP_URL", administrator.as_str())]);

    // The shorter list folds what the longer one publishes.
    shop.start_worker(&[]).await;
    start_worker(&mut shop, Child::start("grown-worker", &["gifts.*"], &settings)).await;
    let orders = web.orders(20, "MUG-BLUE", VISA).await;
    until_folded(&shop, 20, 5).await;
    assert_eq!(web.events(&orders[0]).await.last().map(String::as_str), Some("gifts.gift-promised"));

    // The longer list alone, behind a front end with the shorter one.
    stop_workers(&mut shop).await;
    start_worker(&mut shop, Child::start("grown-worker", &[], &settings)).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    until_folded(&shop, 40, 5).await;

    // Back to the shorter list: its `topology apply` removes nothing of the other build's.
    stop_workers(&mut shop).await;
    ended(&run("orderflow", &["topology", "apply"], &shop.operator_settings()).await, 0, &["as they should be"]);
    shop.start_worker(&[]).await;
    web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 43).await;
    nothing_is_wrong(&shop).await;
    start_worker(&mut shop, Child::start("grown-worker", &["gifts.*"], &settings)).await;
    until_folded(&shop, 43, 5).await;
    shop.close().await;
}

/// Returns the programs of the first version that tolerates unknown event types, which CHANGELOG.md names.
pub fn first_tolerant() -> PathBuf {
    let changes = read("CHANGELOG.md");
    let (_, after) = changes.split_once("**Since ").expect("it names the version");
    let commit = after.split_whitespace().next().expect("a commit");
    let programs = root().join(".dev/versions").join(commit);
    assert!(programs.is_dir(), "{} is missing: `make test-full` builds it", programs.display());
    programs
}

/// Runs the front end and worker of the first version that tolerates unknown event types alongside today's, while a
/// service publishes such a type for every order.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a build of an earlier version: only in the full suite"]
async fn first_tolerant_version_shares_a_shop_with_this_one() {
    let programs = first_tolerant();
    let mut shop = Shop::open().await;
    let today = shop.start_web().await;
    LOYALTY.register(&shop).await;
    let user = LOYALTY.broker_url(&shop);
    let settings = with(shop.settings("orderflow-worker"), &[("AMQP_URL", user.as_str())]);
    ended(&run("loyalty", &["migrate"], &settings).await, 0, &[]);
    start_worker(&mut shop, Child::start("loyalty", &[], &settings)).await;

    let mut earlier = Child::start_path(&programs.join("orderflow"), &["serve"], &shop.settings("orderflow-web"));
    let web = Web::new(earlier.address().await);
    shop.webs().push(earlier);
    let earlier = Child::start_path(&programs.join("orderflow-worker"), &[], &shop.settings("orderflow-worker"));
    start_worker(&mut shop, earlier).await;
    // The earlier version alone: nothing folds the new event type, which does no harm.
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    // Then both versions together.
    shop.start_worker(&[]).await;
    let orders = [web.orders(20, "MUG-BLUE", VISA).await, today.orders(20, "MUG-BLUE", VISA).await].concat();
    until_folded(&shop, 60, 5).await;
    for order in [&orders[0], &orders[39]] {
        for front_end in [&web, &today] {
            let seen = front_end.get_of(order, "").await;
            assert_eq!((seen.body["status"].as_str(), seen.body["version"].as_i64()), (Some("shipped"), Some(5)));
            assert_eq!(front_end.events(order).await.last().map(String::as_str), Some("loyalty.points-booked"));
        }
    }
    nothing_is_wrong(&shop).await;
    shop.close().await;
}
