//! `orderflow top`, in a real terminal.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orderflow_tests::{Proxy, Shop, Terminal, VISA, Way, run};
use orderflow_worker::roster;
use url::Url;

use crate::commands::{ended, with};

/// Room for every queue.
const LARGE: (u16, u16) = (40, 130);

const BOTH_ANSWER: &str = "RabbitMQ ok  PostgreSQL ok";

fn admin_url(shop: &Shop) -> Url {
    let settings = shop.operator_settings();
    let (_, url) = settings.iter().find(|(name, _)| name == "AMQP_ADMIN_URL").expect("operators have one");
    Url::parse(url).expect("a URL")
}

fn top(settings: &[(String, String)], size: (u16, u16)) -> Terminal {
    Terminal::start("orderflow", &["top"], settings, size)
}

#[tokio::test(flavor = "multi_thread")]
async fn screen_follows_an_order_and_the_terminal_is_restored() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut top = top(&shop.operator_settings(), LARGE);
    let before = top.modes();
    let quiet = "orders 0/s in, 0/s settled   outbox empty   accepting orders";
    top.until(&[BOTH_ANSWER, quiet, "payment.order-created", "email.order-cancelled", "1/1"]).await;
    assert!(top.screen().alternate_screen() && top.screen().hide_cursor());
    assert_ne!(top.modes(), before, "the terminal passes keys on one by one");

    let order = web.order("MUG-BLUE", 1, "pm_card_flaky").await;
    // One order in five seconds.
    top.until(&["orders 0.2/s in"]).await;
    top.until(&["0.2/s settled"]).await;
    top.until(&["payment.order-created  #2 again ", "payment.order-created  #1 again "]).await;
    web.until_status(&order, "shipped").await;

    top.press("q");
    assert_eq!(top.ended().await, Some(0));
    assert_eq!(top.modes(), before);
    assert!(!top.screen().alternate_screen() && !top.screen().hide_cursor());
    assert_eq!(top.screen().contents().trim(), "", "the screen is empty");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_restores_the_terminal() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    // A screen too small for every queue shows only those with activity.
    for leave in ["\u{1b}", "\u{3}", "SIGTERM"] {
        let mut top = top(&shop.operator_settings(), (24, 80));
        let before = top.modes();
        top.until(&[BOTH_ANSWER, &format!("0 of {} queues", roster().subscriptions().len())]).await;
        top.press("a");
        top.until(&["payment.order-created", &format!("of {} queues", roster().subscriptions().len())]).await;
        match leave {
            "SIGTERM" => kill(Pid::from_raw(i32::try_from(top.id()).expect("an id")), Signal::SIGTERM).expect("sent"),
            keys => top.press(keys),
        }
        assert_eq!(top.ended().await, Some(0), "{leave:?}");
        assert_eq!(top.modes(), before, "{leave:?}");
        assert!(!top.screen().alternate_screen() && !top.screen().hide_cursor(), "{leave:?}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_names_unavailable_servers_and_continues() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let (database, management) = (Proxy::to(&shop.database_url()).await, Proxy::to(&shop.servers.management_url).await);
    let broker_url = admin_url(&shop);
    let broker = Proxy::to(&broker_url).await;
    let wired = [
        ("DATABASE_URL", database.through(&shop.database_url()).to_string()),
        ("AMQP_ADMIN_URL", broker.through(&broker_url).to_string()),
        ("RABBITMQ_MANAGEMENT_URL", management.through(&shop.servers.management_url).to_string()),
    ];
    let wired: Vec<_> = wired.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut top = top(&with(shop.operator_settings(), &wired), LARGE);
    top.until(&[BOTH_ANSWER]).await;
    database.stall(Way::ToClient);
    // AMQP alone also yields the backlog, so RabbitMQ counts as unavailable only without both.
    management.cut().await;
    broker.cut().await;
    top.until(&["RabbitMQ DOWN  PostgreSQL DOWN", "orders: unknown", "cannot be reached", "did not answer within"])
        .await;
    management.mend().await;
    broker.mend().await;
    top.until(&["RabbitMQ ok  PostgreSQL DOWN"]).await;
    // Keys still work while a server hangs.
    top.press("a");
    database.flow();
    top.until(&[BOTH_ANSWER, "orders 0/s in"]).await;
    web.orders(2, "MUG-BLUE", VISA).await;
    top.until(&["none!"]).await;
    database.stall(Way::ToClient);
    top.until(&["PostgreSQL DOWN"]).await;
    let asked = std::time::Instant::now();
    top.press("q");
    assert_eq!(top.ended().await, Some(0));
    assert!(asked.elapsed() < std::time::Duration::from_secs(3), "{:?}", asked.elapsed());
    shop.start_worker(&[]).await;
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_without_a_terminal_is_refused() {
    let shop = Shop::open_without_queues().await;
    ended(&run("orderflow", &["top"], &shop.operator_settings()).await, 2, &["needs a terminal", "`orderflow queues`"]);
    ended(&run("orderflow", &["top"], &[]).await, 2, &["DATABASE_URL is not set", "AMQP_ADMIN_URL is not set"]);
}
