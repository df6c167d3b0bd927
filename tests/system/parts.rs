//! Shop and console as separate processes, each with only the rights and secrets that it needs.

use orderflow_tests::{
    Child, DECLINED, Shop, VISA, Visitor, Web,
    roles::{close, database_as},
    run, until,
};
use orderflow_worker::roster;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    admin::{ADA, Operators, operator_tokens, refused},
    admin_replays::{begin, until_ended},
    commands::{ended, with},
    dead_letters::{PAYMENT, break_payments, repair_payments},
    rights,
    roles::shop_with_roles,
};

/// Returns the settings without these names.
fn without(mut settings: Vec<(String, String)>, names: &[&str]) -> Vec<(String, String)> {
    settings.retain(|(name, _)| !names.contains(&name.as_str()));
    settings
}

pub async fn until_ready(web: &Web) {
    until("it is ready", async || {
        let answer = web.get("/readyz", &[]).await;
        if answer.status.is_success() { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// Starts the shop alone, with its own role and user. Returns the shop and its operators' address.
pub async fn start_shop(shop: &mut Shop) -> (Web, Operators) {
    let own = with(shop.settings("orderflow-web"), &[("DATABASE_URL", database_as(shop, "web").as_str())]);
    let mut child = Child::start("orderflow", &["serve", "shop"], &own);
    let (web, inside) = (Web::new(child.address().await), Operators::at(child.logged_address("at").await));
    shop.webs().push(child);
    until_ready(&web).await;
    (web, inside)
}

/// Starts the console alone, with its own role and user, without an administrator's or owner's password.
pub async fn start_console(shop: &mut Shop) -> Operators {
    let (tokens, broker) = (operator_tokens(), rights::broker_as(shop, "ops"));
    let own = [
        ("DATABASE_URL", database_as(shop, "ops").to_string()),
        ("AMQP_ADMIN_URL", broker),
        ("OPERATOR_TOKENS", tokens),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let settings = [shop.operator_settings(), shop.settings("orderflow-web")].concat();
    let settings = with(without(settings, &["AMQP_URL", "LISTEN"]), &own);
    let mut child = Child::start("orderflow", &["serve", "console"], &settings);
    let operators = Operators::at(child.logged_address("at").await);
    shop.webs().push(child);
    until_ready(&operators.web).await;
    operators
}

/// Starts a worker for each service, with the service's own role and user.
pub async fn start_workers(shop: &mut Shop) {
    for service in roster().names() {
        let (database, broker) = (database_as(shop, service), rights::broker_as(shop, service));
        let own = [("DATABASE_URL", database.as_str()), ("AMQP_URL", broker.as_str())];
        shop.start_worker_with(&[&format!("{service}.*")], &own).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shop_and_console_run_separately_with_their_own_role_and_user() {
    let mut shop = shop_with_roles().await;
    rights::make_users(&shop).await;
    let (web, inside) = start_shop(&mut shop).await;
    let operators = start_console(&mut shop).await;

    // The shop serves no console, with or without a token.
    orderflow_tests::Scrape::of(inside.address).await;
    for path in ["/ops", "/admin/orders", "/admin/no-such", "/readyz"] {
        let answer = inside.ask(ADA, Method::GET, path, None).await;
        refused(&answer, 404, "not-found", "orderflow serve console");
    }
    // The console serves no customers.
    assert_eq!(operators.web.get("/products", &[]).await.status, StatusCode::NOT_FOUND);

    // The pages of customers.
    assert!(web.get("/products", &[]).await.status.is_success());
    // The estimate needs the queues' figures.
    let waiting = web.order("MUG-BLUE", 1, VISA).await;
    let (mut visitor, page) = (Visitor::new(&web), format!("/track/{}", waiting.id));
    visitor.get(&format!("{page}?t={}", waiting.token)).await;
    until("its page says that a step stands still", async || {
        let text = visitor.get(&page).await.element("estimate");
        if text.contains("is paused") { Ok(()) } else { Err(text) }
    })
    .await;
    start_workers(&mut shop).await;
    web.until_status(&waiting, "shipped").await;
    break_payments(&shop).await;
    let orders = web.orders(3, "MUG-BLUE", VISA).await;
    shop.probe().await.until_dead(PAYMENT, 3).await;

    // The work of operators.
    operators.get("/admin/orders").await;
    assert!(operators.get("/admin/queues").await["items"].as_array().is_some_and(|queues| !queues.is_empty()));
    assert_eq!(operators.get("/admin/dead-letters").await["messages"], 3);
    let stock = operators.act(Method::PUT, "/admin/products/MUG-BLUE/stock", json!({ "available": 77 })).await;
    assert_eq!(stock.status, StatusCode::OK, "{stock:?}");
    repair_payments(&shop).await;
    let path = begin(&operators, json!({ "queue": PAYMENT.queue() })).await;
    until_ended(&operators, &path, "done").await;
    for order in &orders {
        web.until_status(order, "shipped").await;
    }
    web.order("MUG-BLUE", 1, DECLINED).await;
    shop.until_settled().await;

    // No role or user lacked a right.
    for process in shop.webs().iter() {
        let refused: Vec<_> = process.log().into_iter().filter(|line| line.contains("denied")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
    close(shop).await;
}

/// A part must name the settings that it needs and require no others.
#[tokio::test]
async fn part_names_only_the_settings_that_it_lacks() {
    let shop = run("orderflow", &["serve", "shop"], &[]).await;
    ended(&shop, 2, &[]);
    for needed in ["DATABASE_URL", "AMQP_URL", "TOKEN_SECRET"] {
        assert!(shop.err.contains(&format!("{needed} is not set")), "{shop:?}");
    }
    let console = run("orderflow", &["serve", "console"], &[]).await;
    ended(&console, 2, &[]);
    assert!(console.err.contains("DATABASE_URL is not set") && console.err.contains("TOKEN_SECRET is not set"));
    assert!(!console.err.contains("AMQP"), "{console:?}");
}

/// The console starts while the database is unavailable, and reports that.
#[tokio::test(flavor = "multi_thread")]
async fn console_alone_opens_without_a_database() {
    let mut shop = Shop::open().await;
    let settings = with(
        without(shop.settings("orderflow-web"), &["AMQP_URL", "LISTEN"]),
        &[("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:1/nothing"), ("OPERATOR_TOKENS", &operator_tokens())],
    );
    let mut child = Child::start("orderflow", &["serve", "console"], &settings);
    let operators = Operators::at(child.logged_address("at").await);
    until_ready(&operators.web).await;
    let answer = operators.ask(ADA, Method::GET, "/admin/orders", None).await;
    refused(&answer, 503, "database-unavailable", "");
    child.stop().await;
    shop.webs().clear();
    shop.close().await;
}

/// Returns the secrets that a worker of this service needs in addition to its role and user.
fn own_secrets(service: &str) -> &[(&str, &str)] {
    match service {
        "payment" => &[("PAYMENT_PROVIDER", "stripe"), ("STRIPE_SECRET_KEY", "sk_test_of_this_test")],
        "email" => &[
            ("MAIL", "smtp"),
            ("SMTP_URL", "smtps://user:password@127.0.0.1:1"),
            ("TOKEN_SECRET", "a secret of 32 characters or more"),
        ],
        _ => &[],
    }
}

/// Each worker starts with only its own secrets, and names a missing one.
#[tokio::test(flavor = "multi_thread")]
async fn worker_of_a_service_starts_with_only_its_own_secrets() {
    let shop = shop_with_roles().await;
    rights::make_users(&shop).await;
    for service in roster().names() {
        let (database, broker) = (database_as(&shop, service).to_string(), rights::broker_as(&shop, service));
        let common = [
            ("DATABASE_URL", database.as_str()),
            ("AMQP_URL", &broker),
            ("WORKER_LISTEN", "127.0.0.1:0"),
            ("RETRY_DELAYS", "200ms,1s"),
        ];
        let settings = with(Vec::new(), &[common.as_slice(), own_secrets(service)].concat());
        let queues = format!("{service}.*");
        let mut worker = Child::start("orderflow-worker", &["--queue", &queues], &settings);
        until_ready(&Web::new(worker.address().await)).await;
        worker.stop().await;
        for (secret, _) in own_secrets(service).iter().filter(|(name, _)| !["PAYMENT_PROVIDER", "MAIL"].contains(name))
        {
            let ended_by = run("orderflow-worker", &["--queue", &queues], &without(settings.clone(), &[secret])).await;
            ended(&ended_by, 2, &[]);
            assert!(ended_by.err.contains(secret), "{ended_by:?}");
        }
    }
    let two = run("orderflow-worker", &["--queue", "payment.*", "--queue", "email.*"], &[]).await;
    ended(&two, 2, &[]);
    assert!(two.err.contains("a process runs one service, or all of them"), "{two:?}");
    close(shop).await;
}
