//! The operators' API at OPS_LISTEN: permissions, orders, stock and the list of actions. Dead letters: `admin_replays`.

use std::net::SocketAddr;

use orderflow_tests::{Answer, Proxy, Shop, VISA, Visitor, Web, run, until};
use orderflow_worker::roster;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    admin_described::assert_described,
    commands::{NOWHERE, ended},
};

/// Ada has the role operate.
pub const ADA: &str = "the token of Ada";
/// Rita has the role read.
pub const RITA: &str = "the token of Rita";

/// Returns the value of `OPERATOR_TOKENS`.
pub fn operator_tokens() -> String {
    let one = |name: &str, role: &str, token: &str| format!("{name}:{role}:{}", hex::encode(Sha256::digest(token)));
    format!("{},{}", one("ada", "operate", ADA), one("rita", "read", RITA))
}

/// Starts a front end with operators, and returns a client for customers and one for operators. `settings` take
/// precedence.
pub async fn start_web_for_operators(shop: &mut Shop, settings: &[(&str, &str)]) -> (Web, Operators) {
    let tokens = operator_tokens();
    let operator: Vec<(String, String)> = shop.operator_settings();
    let mut all = vec![("OPERATOR_TOKENS", tokens.as_str())];
    all.extend(operator.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.extend(settings);
    let web = shop.start_web_with(&all).await;
    let address = shop.webs().last_mut().expect("it runs").logged_address("at").await;
    (web, Operators::at(address))
}

/// A client of the operators' API.
pub struct Operators {
    /// The address of OPS_LISTEN.
    pub address: SocketAddr,
    /// A client that sends no token.
    pub web: Web,
}

impl Operators {
    pub fn at(address: SocketAddr) -> Self {
        Self { address, web: Web::new(address) }
    }

    /// Sends a request with this token. The answer must be as `/admin/openapi.json` describes it.
    pub async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = self.web.send(method.clone(), path, &headers, body).await;
        assert_described(&method, path, &answer);
        answer
    }

    /// Returns what Rita reads at this path.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Value> {
        let path = path.to_owned();
        async move {
            let answer = self.ask(RITA, Method::GET, &path, None).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            answer.body
        }
    }

    /// Sends a request as Ada.
    pub async fn act(&self, method: Method, path: &str, body: Value) -> Answer {
        self.ask(ADA, method, path, Some(body)).await
    }
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, problem: &str, says: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.body["type"], format!("/problems/{problem}"), "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{answer:?}");
}

fn texts(list: &Value, name: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item[name].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_operators_only_metrics_are_served_and_there_is_no_console() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    let operators = Operators::at(shop.webs()[0].logged_address("at").await);
    for path in ["/admin/orders", "/admin/queues", "/admin/audit"] {
        let answer = operators.ask(ADA, Method::GET, path, None).await;
        refused(&answer, 403, "operators-off", "Set OPERATOR_TOKENS");
    }
    let mut browser = Visitor::new(&operators.web);
    for path in ["/ops", "/ops/login", "/ops/orders"] {
        let page = browser.get(path).await;
        assert!(page.status == StatusCode::FORBIDDEN && page.text.contains("Set OPERATOR_TOKENS"), "{page:?}");
    }
    orderflow_tests::Scrape::of(operators.address).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_permits_what_its_role_allows() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let without = operators.web.get("/admin/orders", &[]).await;
    refused(&without, 401, "unauthorized", "Authorization: Bearer TOKEN");
    assert_eq!(without.headers["www-authenticate"], "Bearer");
    // The settings contain the hash, which must not be accepted as a token.
    let hash = hex::encode(Sha256::digest(ADA));
    for wrong in ["", "x", hash.as_str(), "the token of ada"] {
        refused(&operators.ask(wrong, Method::GET, "/admin/orders", None).await, 401, "unauthorized", "");
    }
    operators.get("/admin/orders").await;
    let stock = json!({ "available": 1 });
    for (method, path) in [
        (Method::PUT, "/admin/products/MUG-BLUE/stock"),
        (Method::POST, "/admin/replays"),
        (Method::POST, "/admin/discards"),
    ] {
        let answer = operators.ask(RITA, method, path, Some(stock.clone())).await;
        refused(&answer, 403, "forbidden", "the role operate");
    }
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await, 1_000_000);
    let nowhere = operators.ask(ADA, Method::GET, "/admin/no-such", None).await;
    refused(&nowhere, 404, "not-found", "/admin/openapi.json");
    let wrong = operators.ask(ADA, Method::POST, "/admin/orders", None).await;
    refused(&wrong, 405, "method-not-allowed", "GET, HEAD");
    let wrong = operators.ask(ADA, Method::PUT, "/admin/replays", None).await;
    assert_eq!(wrong.headers["allow"], "GET, HEAD, POST");
    // Neither tokens nor their hashes are logged.
    let log = shop.webs()[0].log().join("\n");
    assert!(log.contains("/admin/orders") && !log.contains("token of") && !log.contains(&hash), "{log}");
    // Guessed tokens are logged with the client's address.
    let guesses: Vec<_> = log.lines().filter(|line| line.contains("a token was refused")).collect();
    assert!(guesses.len() >= 3 && guesses.iter().all(|line| line.contains("127.0.0.1")), "{guesses:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_paged_and_found_by_identifier_and_status() {
    let mut shop = Shop::open().await;
    let (web, operators) = start_web_for_operators(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    let orders = web.orders(3, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 3).await;
    let mut ids: Vec<String> = orders.iter().map(|order| order.id.to_string()).collect();
    ids.sort_unstable_by(|one, other| other.cmp(one));

    let first = operators.get("/admin/orders?limit=2").await;
    assert_eq!(texts(&first, "order_id"), ids[..2]);
    let cursor = first["next_cursor"].as_str().expect("there is one more");
    let second = operators.get(&format!("/admin/orders?limit=2&cursor={cursor}")).await;
    assert_eq!((texts(&second, "order_id"), &second["next_cursor"]), (ids[2..].to_vec(), &Value::Null));

    let number = first["items"][0]["number"].as_str().expect("a number").to_lowercase();
    for (query, found) in [
        (format!("q={number}"), &ids[..1]),
        (format!("q={}", ids[1]), &ids[1..2]),
        ("q=ADA%40example.org".to_owned(), &ids[..]),
        ("q=ada%40example.org&status=shipped&limit=2".to_owned(), &ids[..2]),
        ("q=bob%40example.org".to_owned(), &[]),
        ("status=pending".to_owned(), &[]),
        ("status=shipped".to_owned(), &ids[..]),
    ] {
        assert_eq!(texts(&operators.get(&format!("/admin/orders?{query}")).await, "order_id"), found, "{query}");
    }
    for wrong in ["q=teapot", "q=%00@example.org", "status=X'--", "limit=0", "limit=201", "cursor=x"] {
        let answer = operators.ask(RITA, Method::GET, &format!("/admin/orders?{wrong}"), None).await;
        refused(&answer, 400, "invalid-parameter", "must be");
    }
    // One order, with the same content as `orderflow why`, and without the customer's name and address.
    let story = operators.get(&format!("/admin/orders/{}", ids[0])).await;
    let told = run("orderflow", &["why", &ids[0], "--json"], &shop.operator_settings()).await;
    let mut told: Value = serde_json::from_str(&told.out).expect("JSON");
    told["generated_at"] = story["generated_at"].clone();
    assert_eq!(story, told);
    assert!(!story.to_string().contains("Lovelace") && !first.to_string().contains("ada@"));
    assert_eq!(operators.get(&format!("/admin/orders/{number}")).await["order"]["order_id"], ids[0]);
    for unknown in ["0000000000", "nonsense", "ada@example.org"] {
        let answer = operators.ask(RITA, Method::GET, &format!("/admin/orders/{unknown}"), None).await;
        refused(&answer, 404, "order-not-found", "id or number");
    }
    shop.close().await;
}

/// Waits until the first queue has this figure: the broker's own figures are a few seconds old.
async fn until_known(operators: &Operators, figure: &str, wanted: i64) -> Value {
    let mut last = Value::Null;
    until(&format!("{figure} of the first queue is {wanted}"), async || {
        last = operators.get("/admin/queues").await;
        if last["items"][0][figure] == wanted { Ok(()) } else { Err(last.clone()) }
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_get_the_queues_of_the_queues_command() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    let queues = until_known(&operators, "consumers", 1).await;
    let names = texts(&queues, "queue");
    let all: Vec<_> = roster().subscriptions().iter().map(|one| one.queue()).collect();
    assert_eq!((names, &queues["unavailable"]), (all, &json!([])));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_change_and_its_author_are_recorded_permanently() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let path = "/admin/products/MUG-BLUE/stock";
    let answer = operators.act(Method::PUT, path, json!({ "available": 7 })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["before"]), (200, &json!(1_000_000)), "{answer:?}");
    let products = operators.get("/admin/products").await;
    let mug = products["items"].as_array().expect("a list").iter().find(|one| one["sku"] == "MUG-BLUE");
    assert_eq!(mug.expect("it is there")["available"], 7);
    for (path, body, status, problem) in [
        (path, json!({ "available": -1 }), 422, "invalid-request"),
        (path, json!({ "available": 1_000_000_001_i64 }), 422, "invalid-request"),
        (path, json!({ "available": "7" }), 422, "invalid-request"),
        (path, json!({ "available": 7, "why": "x" }), 422, "invalid-request"),
        (path, json!({ "available": 7, "expected": -1 }), 422, "invalid-request"),
        // Seven, not eight: an order or another operator changed it after the client read it.
        (path, json!({ "available": 9, "expected": 8 }), 409, "stock-changed"),
        ("/admin/products/NO-SUCH/stock", json!({ "available": 7 }), 404, "product-not-found"),
        ("/admin/products/%00/stock", json!({ "available": 7 }), 404, "product-not-found"),
    ] {
        refused(&operators.act(Method::PUT, path, body).await, status, problem, "");
    }
    let stale = ["stock", "set", "MUG-BLUE", "1000000", "--expected", "8"];
    ended(
        &run("orderflow", &stale, &shop.operator_settings()).await,
        1,
        &["7 available now, not 8", "nothing was changed"],
    );
    let json = run("orderflow", &[&stale[..], &["--json"]].concat(), &shop.operator_settings()).await;
    assert_eq!(
        serde_json::from_str::<Value>(&json.out).ok(),
        Some(json!({ "sku": "MUG-BLUE", "error": "changed", "available": 7, "expected": 8 })),
        "{json:?}"
    );
    let command =
        run("orderflow", &["stock", "set", "MUG-BLUE", "1000000", "--expected", "7"], &shop.operator_settings()).await;
    ended(&command, 0, &["there were 7"]);
    let command = run("orderflow", &["stock", "set", "NO-SUCH", "1"], &shop.operator_settings()).await;
    ended(&command, 1, &["There is no product"]);

    // The newest first, without the refused requests.
    let audit = operators.get("/admin/audit").await;
    let action = |index: usize| {
        let one = &audit["items"][index];
        ["what", "target", "role", "outcome"].map(|name| one[name].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(action(0), ["stock.set", "MUG-BLUE", "command", "done"], "{audit}");
    assert_eq!(action(1), ["stock.set", "MUG-BLUE", "operate", "done"], "{audit}");
    assert_eq!(audit["items"].as_array().map(Vec::len), Some(2), "{audit}");
    assert_eq!((&audit["items"][1]["who"], &audit["items"][1]["details"]["available"]), (&json!("ada"), &json!(7)));
    assert_eq!(audit["items"][1]["request_id"], answer.headers["x-request-id"].as_str());
    let page = operators.get("/admin/audit?limit=1").await;
    let next = page["next_cursor"].as_str().expect("there is one more");
    assert_eq!(operators.get(&format!("/admin/audit?cursor={next}")).await["items"], json!([audit["items"][1]]));

    let mut database = shop.database().await;
    for change in [
        "UPDATE operations.actions SET who = 'nobody'",
        "DELETE FROM operations.actions",
        "TRUNCATE operations.actions",
    ] {
        let refused = diesel_async::RunQueryDsl::execute(diesel::sql_query(change), &mut database).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("append-only")), "{change}");
    }
    // An action that cannot be recorded is not carried out.
    shop.execute("ALTER TABLE operations.actions ADD CONSTRAINT broken CHECK (false) NOT VALID").await;
    let answer = operators.act(Method::PUT, path, json!({ "available": 3 })).await;
    assert_eq!(answer.status.as_u16(), 500, "{answer:?}");
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await, 1_000_000);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_without_the_broker_and_missing_figures_are_reported() {
    let mut shop = Shop::open().await;
    let broker = format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow");
    let away = [("AMQP_ADMIN_URL", broker.as_str()), ("RABBITMQ_MANAGEMENT_URL", "http://127.0.0.1:1")];
    let (web, operators) = start_web_for_operators(&mut shop, &away).await;
    let (_, without) = start_web_for_operators(&mut shop, &[("AMQP_ADMIN_URL", "")]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    assert_eq!(texts(&operators.get("/admin/orders").await, "order_id"), [order.id.to_string()]);
    let queues = operators.get("/admin/queues").await;
    assert!(queues["unavailable"][0].as_str().is_some_and(|why| why.contains("127.0.0.1:1")), "{queues}");
    assert_eq!(queues["items"][0]["ready"], Value::Null);
    let letters = operators.ask(RITA, Method::GET, "/admin/dead-letters", None).await;
    refused(&letters, 503, "broker-unavailable", "RabbitMQ");
    assert!(letters.headers.contains_key("retry-after") && !format!("{letters:?}").contains("hush"), "{letters:?}");

    let queues = without.get("/admin/queues").await;
    assert!(queues["unavailable"][0].as_str().is_some_and(|why| why.contains("AMQP_ADMIN_URL")), "{queues}");
    let asked = json!({ "queue": "payment.order-created" });
    let missing = without.ask(RITA, Method::GET, "/admin/dead-letters", None).await;
    refused(&missing, 503, "setting-missing", "AMQP_ADMIN_URL");
    for path in ["/admin/replays", "/admin/discards"] {
        refused(&without.act(Method::POST, path, asked.clone()).await, 503, "setting-missing", "AMQP_ADMIN_URL");
    }
    shop.start_worker(&[]).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_get_503_while_the_database_is_unavailable() {
    let mut shop = Shop::open().await;
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    let (_, operators) = start_web_for_operators(&mut shop, &[("DATABASE_URL", wire.through(&url).as_str())]).await;
    operators.get("/admin/orders").await;
    wire.cut().await;
    for path in ["/admin/orders", "/admin/audit", "/admin/products", "/admin/replays", "/admin/orders/0000000000"] {
        let answer = operators.ask(RITA, Method::GET, path, None).await;
        refused(&answer, 503, "database-unavailable", "Try again");
    }
    let answer = operators.act(Method::PUT, "/admin/products/MUG-BLUE/stock", json!({ "available": 1 })).await;
    refused(&answer, 503, "database-unavailable", "Try again");
    // The broker's figures are still returned.
    let queues = until_known(&operators, "ready", 0).await;
    assert!(queues["unavailable"][0].as_str().is_some_and(|why| why.contains("DATABASE_URL")), "{queues}");
    wire.mend().await;
    operators.get("/admin/orders").await;
    shop.close().await;
}
