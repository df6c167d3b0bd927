//! Commands set up and check the database and the broker, and programs that do not match them do not start.

use std::fs;

use futures::future::join_all;
use orderflow_tests::{Shop, VISA, body, key, run, until};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{
    commands::{NOWHERE, ended, settings, with},
    database_setup::{EMPTY, execute},
};

#[tokio::test(flavor = "multi_thread")]
async fn migrating_is_safe_to_repeat_and_stock_is_listed_and_set() {
    let mut shop = Shop::open().await;
    let operator = shop.operator_settings();
    execute(&shop, EMPTY).await;
    let says = "run `orderflow migrate`";
    ended(&run("orderflow", &["serve"], &shop.settings("orderflow-web")).await, 2, &[says]);
    ended(&run("orderflow-worker", &[], &shop.settings("orderflow-worker")).await, 2, &[says]);
    ended(&run("orderflow", &["stock", "list"], &operator).await, 3, &[]);

    let four = join_all((0..4).map(|_| run("orderflow", &["migrate", "--json"], &operator))).await;
    let mut done = Vec::new();
    for one in &four {
        ended(one, 0, &[]);
        let report: Value = serde_json::from_str(&one.out).expect("JSON");
        done.extend(report["migrated"].as_array().expect("a list").iter().map(ToString::to_string));
    }
    let migrations = shop.number("SELECT count(*) FROM __diesel_schema_migrations").await;
    let all = done.len();
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), all, "each ran once: {done:?}");
    let shared = done.iter().filter(|name| !name.contains('/')).count();
    assert_eq!(i64::try_from(shared), Ok(migrations), "{done:?}");
    assert_eq!(shop.number("SELECT count(*) FROM catalogue.products").await, 12);
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["up to date"]);
    let away = with(operator.clone(), &[("DATABASE_URL", &format!("postgres://orderflow:hush@{NOWHERE}/orderflow"))]);
    let unreachable = run("orderflow", &["migrate"], &away).await;
    ended(&unreachable, 3, &[]);
    assert!(!unreachable.err.is_empty() && !unreachable.err.contains("hush"), "{unreachable:?}");

    // A secret may come from a file.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("database-url");
    fs::write(&file, format!("{}\n", shop.database_url())).expect("it can be written");
    let by_file = settings(&[("DATABASE_URL_FILE", file.to_str().expect("text"))]);
    let listed = run("orderflow", &["stock", "list"], &by_file).await;
    ended(&listed, 0, &["sku", "available", "MUG-BLUE", "LAMP-SOLDOUT", "Desk lamp, first edition"]);
    assert_eq!(listed.out.lines().count(), 1 + 12);

    let available = async |sku: &str| {
        let listed = run("orderflow", &["stock", "list", "--json"], &operator).await;
        let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
        let items = listed["items"].as_array().expect("items").clone();
        let item = items.into_iter().find(|item| item["sku"] == sku).expect("listed");
        item["available"].as_i64().expect("a number")
    };
    assert_eq!((available("MUG-BLUE").await, available("LAMP-SOLDOUT").await), (1_000_000, 0));
    ended(&run("orderflow", &["stock", "set", "LAMP-SOLDOUT", "7"], &operator).await, 0, &["LAMP-SOLDOUT", "7", "0"]);
    let set = run("orderflow", &["stock", "set", "LAMP-SOLDOUT", "3", "--json"], &operator).await;
    ended(&set, 0, &[]);
    let report: Value = serde_json::from_str(&set.out).expect("JSON");
    assert_eq!(report, serde_json::json!({ "sku": "LAMP-SOLDOUT", "before": 7, "available": 3 }));
    ended(&run("orderflow", &["stock", "set", "NO-SUCH", "3"], &operator).await, 1, &["NO-SUCH"]);
    for number in ["-1", "many", "1000000001", "1.5"] {
        ended(&run("orderflow", &["stock", "set", "LAMP-SOLDOUT", number], &operator).await, 2, &[]);
        ended(&run("orderflow", &["stock", "set", "LAMP-SOLDOUT", "--", number], &operator).await, 2, &[]);
    }
    assert_eq!(available("LAMP-SOLDOUT").await, 3);

    // Customers can order exactly the listed quantity.
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("LAMP-SOLDOUT", 3, VISA).await;
    web.until_status(&order, "shipped").await;
    assert_eq!(available("LAMP-SOLDOUT").await, 0);
    until("it is sold out", async || {
        let answer = web.place(&key(), &body("LAMP-SOLDOUT", 1, "no method, so that it is never placed")).await;
        if answer.errors().iter().any(|(_, code)| code == "out_of_stock") { Ok(()) } else { Err(answer) }
    })
    .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_is_set_up_and_checked_and_a_mismatched_worker_does_not_start() {
    let shop = Shop::open().await;
    let operator = shop.operator_settings();
    let topology = async |command: &str| run("orderflow", &["topology", command], &operator).await;
    ended(&topology("check").await, 0, &["as they should be"]);
    ended(&topology("apply").await, 0, &["as they should be"]);

    shop.manage(Method::DELETE, "queues/{vhost}/email.order-created").await;
    ended(&topology("check").await, 1, &["email.order-created", "orderflow topology apply"]);
    let json = run("orderflow", &["topology", "check", "--json"], &operator).await;
    ended(&json, 1, &[]);
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(report["ok"], false);
    assert!(report["differences"].to_string().contains("email.order-created"), "{report}");
    ended(&topology("apply").await, 0, &[]);
    ended(&topology("check").await, 0, &[]);

    // `apply` updates a worker's read permissions to the services, even without the worker's password.
    let permission = "permissions/{vhost}/orderflow-worker";
    let reads = async || shop.manage(Method::GET, permission).await["read"].as_str().expect("text").to_owned();
    let all = reads().await;
    let less = serde_json::json!({ "configure": "^$", "write": "^$", "read": "^payment\\." });
    shop.manage_with(Method::PUT, permission, &less).await;
    assert_eq!(reads().await, "^payment\\.");
    ended(&topology("apply").await, 0, &[]);
    assert_eq!(reads().await, all);

    let exported = run("orderflow", &["topology", "export"], &settings(&[("RETRY_DELAYS", "2s,3m")])).await;
    ended(&exported, 0, &["orders.retry.2s", "orders.retry.3m"]);
    assert!(serde_json::from_str::<Value>(&exported.out).is_ok());

    let elsewhere = with(operator.clone(), &[("RABBITMQ_MANAGEMENT_URL", &format!("http://{NOWHERE}"))]);
    for command in ["apply", "check"] {
        let unreachable = run("orderflow", &["topology", command], &elsewhere).await;
        ended(&unreachable, 3, &[NOWHERE]);
        assert!(!unreachable.err.contains(shop.admin.password.expose_secret()), "{unreachable:?}");
    }
    let stranger = shop.servers.broker(Some(("orderflow-admin", "wrong-password")), shop.name());
    let stranger = with(operator.clone(), &[("AMQP_ADMIN_URL", stranger.as_str())]);
    let refused = run("orderflow", &["topology", "check"], &stranger).await;
    ended(&refused, 2, &["401"]);
    assert!(!refused.err.contains("wrong-password"), "{refused:?}");

    // Messages for a missing retry tier would be lost, so such a worker does not start.
    let other = with(shop.settings("orderflow-worker"), &[("RETRY_DELAYS", "200ms,2s"), ("RUST_LOG", "error")]);
    let refused = run("orderflow-worker", &[], &other).await;
    ended(&refused, 2, &["RETRY_DELAYS is 200ms,2s", "orders.retry.2s", "orderflow topology apply"]);
    assert_eq!(refused.err.lines().filter(|line| line.starts_with("orderflow-worker: ")).count(), 1, "{refused:?}");
    shop.manage(Method::DELETE, "exchanges/{vhost}/orders.events").await;
    ended(&topology("check").await, 1, &["orders.events"]);
    let refused = run("orderflow-worker", &[], &shop.settings("orderflow-worker")).await;
    ended(&refused, 2, &["orders.events", "orderflow topology apply"]);
    ended(&topology("apply").await, 0, &[]);
    shop.close().await;
}
