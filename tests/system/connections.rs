//! Rented servers allow few connections: a shop works with those available, and logs how many it wants.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use orderflow_service::{
    config::DatabaseConfig,
    store::{Connection, Database, StoreError},
};
use orderflow_tests::{
    Child, DECLINED, Shop, VISA, log_in,
    own::{Own, Wanted},
    run, until,
};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use crate::{
    commands::{ended, with},
    doctor::doctor,
};

/// The total number of connections that a small plan allows.
const PLAN: usize = 20;

/// A role with the rights of the database's owner and a connection limit.
struct Rented {
    role: String,
    url: Url,
}

impl Rented {
    async fn of(shop: &Shop, limit: usize) -> Self {
        let role = shop.name().to_owned();
        let statements = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'rented' CONNECTION LIMIT {limit};
             DO $$ BEGIN EXECUTE format('GRANT %I TO {role}', current_user); END $$"
        );
        shop.database().await.batch_execute(&statements).await.expect("the owner may create roles");
        let url = log_in(shop.database_url(), &role, "rented");
        Self { role, url }
    }

    /// Closes the shop and drops the role.
    async fn close(self, shop: Shop) {
        let server = shop.servers.database_url.clone();
        shop.close().await;
        let mut connection = Connection::establish(server.as_str()).await.expect("the server can be reached");
        until("the role can be dropped", async || connection.batch_execute(&format!("DROP ROLE {}", self.role)).await)
            .await;
    }
}

/// Returns the settings of a front end's console: `AMQP_ADMIN_URL` and `OPERATOR_TOKENS`.
fn console(shop: &Shop) -> (String, String) {
    (shop.servers.broker(None, shop.name()).to_string(), format!("ada:operate:{}", "0".repeat(64)))
}

fn logged<'c>(children: impl IntoIterator<Item = &'c Child>, text: &str) -> Vec<String> {
    children.into_iter().flat_map(Child::log).filter(|line| line.contains(text)).collect()
}

pub async fn place(shop: &Shop, web: &orderflow_tests::Web) {
    web.orders(60, "MUG-BLUE", VISA).await;
    web.order("MUG-BLUE", 1, DECLINED).await;
    // The simulated carrier refuses it: stock is released and the payment refunded.
    let refused = web.order("BATTERY-BULK", 1, VISA).await;
    web.until_status(&refused, "cancelled").await;
    shop.until_settled().await;
    shop.until_orders("shipped", 60).await;
    shop.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_front_end_with_console_run_on_twenty_database_connections() {
    let mut shop = Shop::open().await;
    let rented = Rented::of(&shop, PLAN).await;
    let there = [("DATABASE_URL", rented.url.as_str())];
    let (admin, tokens) = console(&shop);
    let settings = [there[0], ("AMQP_ADMIN_URL", admin.as_str()), ("OPERATOR_TOKENS", tokens.as_str())];
    let web = shop.start_web_with(&settings).await;
    shop.start_worker_with(&[], &there).await;
    place(&shop, &web).await;
    for complaint in ["PostgreSQL refuses", "PostgreSQL allows", "PostgreSQL has no", "too many"] {
        assert_eq!(logged(shop.all_children(), complaint), Vec::<String>::new(), "the connections suffice");
    }
    let operator = with(shop.operator_settings(), &there);
    ended(&run("orderflow", &["doctor"], &operator).await, 0, &["Nothing is wrong"]);
    rented.close(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_fewer_connections_than_wanted_report_it_and_work() {
    let mut shop = Shop::open().await;
    let rented = Rented::of(&shop, 6).await;
    let there = [("DATABASE_URL", rented.url.as_str())];
    let web = shop.start_web_with(&[there[0], ("DATABASE_POOL", "4")]).await;
    // The worker takes what is left, so let the front end have its share first.
    until("the front end listens, and has a connection for customers and one for the console", async || {
        let connected = shop.number("SELECT count(*) FROM pg_stat_activity WHERE usename = current_database()").await;
        if connected >= 3 { Ok(()) } else { Err(connected) }
    })
    .await;
    shop.start_worker_with(&[], &there).await;
    let said = shop.workers()[0].until_logged("PostgreSQL allows fewer connections than this process may open").await;
    assert!(said.contains("wanted=10") && said.contains("allowed=6") && said.contains("CONNECTION LIMIT"), "{said}");
    place(&shop, &web).await;
    rented.close(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_without_a_database_connection_reports_why_and_starts_once_it_gets_one() {
    let mut shop = Shop::open().await;
    let rented = Rented::of(&shop, 3).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Connection::establish(rented.url.as_str()).await.expect("the role may have three"));
    }
    let there = [("DATABASE_URL", rented.url.as_str())];
    let says = "PostgreSQL has no connection left for this process";
    let mut worker = Child::start("orderflow-worker", &[], &with(shop.settings("orderflow-worker"), &there));
    let said = worker.until_logged(says).await;
    assert!(
        said.contains("DATABASE_POOL") && said.contains("CONNECTION LIMIT") && said.contains("wanted=10"),
        "{said}"
    );
    let mut web = Child::start("orderflow", &["serve"], &with(shop.settings("orderflow-web"), &there));
    web.until_logged(says).await;
    let operator = with(shop.operator_settings(), &there);
    ended(&run("orderflow", &["doctor"], &operator).await, 3, &["too many connections", "CONNECTION LIMIT"]);
    // Before there are connections: of two processes, the first one would take all three.
    web.stop().await;
    others.clear();
    worker.until_logged("consuming queue=").await;
    shop.workers().push(worker);
    rented.close(shop).await;
}

/// Callers that get no turn on the only connection would otherwise report an outage, which sends operators to the
/// network and to `DATABASE_URL`. `preflight.rs` has the words in which a process logs this error.
#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_turn_learn_that_postgresql_refuses_more_connections() {
    let shop = Shop::open().await;
    let rented = Rented::of(&shop, 1).await;
    let database = Database::new(&DatabaseConfig::at(rented.url.to_string()), "test", 2).expect("a pool");
    let only = database.connection().await.expect("the role may have one");
    // PostgreSQL refuses one of the two callers. Then both wait for the only connection.
    let (one, other) = tokio::join!(database.connection(), database.connection());
    for outcome in [one, other] {
        let error = outcome.err().expect("the only connection is in use");
        assert!(matches!(error, StoreError::NoConnectionLeft), "{error:?}");
        assert!(error.is_too_many_connections(), "{error}");
    }
    drop(only);
    drop(database.connection().await.expect("the only connection is free"));
    drop(database);
    rented.close(shop).await;
}

/// Limits the connections of the virtual host, as a plan does.
async fn allow(shop: &Shop, connections: i64) {
    shop.manage_with(Method::PUT, "vhost-limits/{vhost}/max-connections", &json!({ "value": connections })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_front_end_with_console_run_on_ten_broker_connections() {
    let mut shop = Shop::open().await;
    allow(&shop, 10).await;
    let (admin, tokens) = console(&shop);
    let web = shop.start_web_with(&[("AMQP_ADMIN_URL", admin.as_str()), ("OPERATOR_TOKENS", tokens.as_str())]).await;
    shop.start_worker(&[]).await;
    place(&shop, &web).await;
    ended(&doctor(&shop).await, 0, &["Nothing is wrong"]);
    shop.close().await;
}

/// Closes every connection of the virtual host, as a restart of the broker does.
pub async fn close_connections(shop: &Shop) {
    let open = shop.manage(Method::GET, "vhosts/{vhost}/connections?columns=name").await;
    for one in open.as_array().into_iter().flatten() {
        let name = one["name"].as_str().expect("each has a name");
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        // A connection that has closed meanwhile is not found, so the status does not matter.
        let administrator = (shop.admin.user.as_str(), shop.admin.password.expose_secret());
        shop.manage_as(administrator, Method::DELETE, &format!("connections/{name}"), &Value::Null).await;
    }
}

fn consuming(worker: &Child) -> usize {
    logged([worker], "consuming queue=").len()
}

/// The worker retries queues that it cannot consume, and logs the refusal once; doctor reports it too.
#[tokio::test(flavor = "multi_thread")]
async fn worker_refused_its_connections_reports_it_and_consumes_once_it_gets_them() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let queues = orderflow_worker::roster().subscriptions().len();
    until("the management API lists the worker's connections", async || {
        let open = shop.manage(Method::GET, "vhosts/{vhost}/connections?columns=name").await;
        if open.as_array().is_some_and(|open| open.len() >= 3) { Ok(()) } else { Err(open) }
    })
    .await;
    allow(&shop, 0).await;
    close_connections(&shop).await;
    let said = shop.workers()[0].until_logged("RabbitMQ refuses a connection").await;
    assert!(said.contains("max-connections"), "{said}");
    until("doctor finds the limit", async || {
        let found = doctor(&shop).await;
        let says = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
        if says.contains("0 connections, and all are in use") && found.code == Some(3) { Ok(()) } else { Err(found) }
    })
    .await;
    let worker = &shop.workers()[0];
    let refusals = logged([worker], "RabbitMQ refuses a connection");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(logged([worker], "the queue cannot be consumed"), Vec::<String>::new());
    allow(&shop, -1).await;
    until("every queue is consumed again", async || {
        let consuming = consuming(&shop.workers()[0]);
        if consuming >= 2 * queues { Ok(()) } else { Err(consuming) }
    })
    .await;
    shop.close().await;
}

/// If a connection has too few channels for all queues, the worker logs it, and the remaining queues get a connection
/// of their own.
#[tokio::test(flavor = "multi_thread")]
async fn queues_beyond_the_channels_of_a_connection_are_consumed_and_reported() {
    let own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    own.rabbitmq.first().control(&["eval", "application:set_env(rabbit, channel_max, 16)."]).await;
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let said = shop.workers()[0].until_logged("the queue cannot be consumed").await;
    assert!(said.contains("channel_max"), "{said}");
    place(&shop, &web).await;
    shop.close().await;
}
