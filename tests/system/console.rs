//! The console at /ops, as a browser without JavaScript sees it.

mod answers;
mod stock;

use orderflow_service::broker::names;
use orderflow_tests::{Order, Page, Proxy, Shop, VISA, Visitor, Web, until};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    admin::{ADA, Operators, RITA, start_web_for_operators},
    commands::NOWHERE,
    dead_letters::{PAYMENT, repair_payments, until_number, with_dead_orders},
};

const QUEUE: &str = "payment.order-created";

/// Sends a form as a browser does from one of the console's pages.
async fn post(browser: &mut Visitor, path: &str, fields: &[(&str, &str)]) -> Page {
    let origin = browser.root.clone();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
    browser.send(Method::POST, path, &headers, Some(form)).await
}

/// Returns a browser in which this operator is logged in.
async fn logged_in(operators: &Operators, token: &str) -> Visitor {
    let mut browser = Visitor::new(&operators.web);
    let page = post(&mut browser, "/ops/login", &[("token", token)]).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/ops"), "{page:?}");
    browser
}

/// Returns the page at this path, and checks its status and headers.
async fn page(browser: &mut Visitor, path: &str) -> Page {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(
        !page.text.contains("style=\"") && !page.text.contains(" onclick"),
        "{path} contains what the policy forbids"
    );
    assert!(!page.text.contains('`'), "{path}: commands are marked as code: {}", page.text);
    page
}

/// Waits until the page at this path contains this text.
async fn until_shown(browser: &mut Visitor, path: &str, text: &str) -> Page {
    let mut last = None;
    until(&format!("{path} contains {text}"), async || {
        let shown = page(browser, path).await;
        let found = if shown.text.contains(text) { Ok(()) } else { Err(shown.text.clone()) };
        last = Some(shown);
        found
    })
    .await;
    last.expect("the page was loaded")
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_logs_in_sees_everything_and_logs_out() {
    let mut shop = Shop::open().await;
    let (web, operators) = start_web_for_operators(&mut shop, &[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.start_worker(&[]).await;
    web.until_status(&order, "shipped").await;

    let mut browser = Visitor::new(&operators.web);
    let path = format!("/ops/orders/{}", order.id);
    let first = browser.get(&path).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let login = page(&mut browser, first.header("location")).await;
    assert_eq!(login.field("next"), path);
    let wrong = post(&mut browser, "/ops/login", &[("token", "the token of Eve")]).await;
    assert!(wrong.status == StatusCode::UNAUTHORIZED && wrong.text.contains("No operator has this token"), "{wrong:?}");
    assert!(browser.cookies.is_empty());
    let opened = post(&mut browser, "/ops/login", &[("token", ADA), ("next", &path)]).await;
    assert_eq!((opened.status, opened.header("location")), (StatusCode::SEE_OTHER, path.as_str()));
    let cookie = opened.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/ops", "Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("token of Ada"), "{cookie}");

    let told = page(&mut browser, &path).await;
    for text in ["shipped", "payment.completed", "shipment.created", "ada", "Tracking"] {
        assert!(told.text.contains(text), "{text}: {}", told.text);
    }
    let number = told.text.split("order-number\">").nth(1).and_then(|rest| rest.split('<').next()).expect("a number");
    // The broker's own figures are a few seconds old.
    let overview = until_shown(&mut browser, "/ops", "<polyline").await;
    for text in [QUEUE, "<svg class=\"flow\"", "/s accepted", "#/queues/"] {
        assert!(overview.text.contains(text), "{text}: {}", overview.text);
    }
    for query in [number.to_lowercase(), "Ada%40Example.org".to_owned(), order.id.to_string()] {
        let found = page(&mut browser, &format!("/ops/orders?q={query}&status=shipped")).await;
        assert!(found.text.contains(&format!("href=\"{path}\"")), "{query}: {}", found.text);
    }
    assert!(page(&mut browser, "/ops/orders?status=pending").await.text.contains("No order matches"));
    let wrong = browser.get("/ops/orders?q=teapot").await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.text.contains("q must be"), "{wrong:?}");
    assert!(browser.get("/ops/orders/0000000000").await.text.contains("There is no such order"));
    for path in ["/ops/dead-letters", "/ops/products", "/ops/audit"] {
        page(&mut browser, path).await;
    }
    for asset in overview.loads() {
        assert_eq!(browser.get(&asset).await.status, StatusCode::OK, "{asset}");
    }
    let closed = post(&mut browser, "/ops/logout", &[]).await;
    assert!(closed.status == StatusCode::SEE_OTHER && browser.cookies.is_empty(), "{closed:?}");
    assert_eq!(browser.get("/ops").await.status, StatusCode::SEE_OTHER);
    let done = operators.get("/admin/audit").await;
    let done = [1, 0].map(|at| done["items"][at]["what"].clone());
    assert_eq!(done, ["console.log-in", "console.log-out"]);
    let log = shop.webs()[0].log().join("\n");
    assert_eq!(log.matches("a token was refused: it is not an operator's").count(), 1, "{log}");
    assert!(!log.contains("token of") && !log.to_lowercase().contains("ada@example"), "{log}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_cookie_opens_nothing_and_the_role_read_cannot_act() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let ada = logged_in(&operators, ADA).await;
    let cookie = ada.cookies.values().next().expect("a cookie").clone();
    let name = ada.cookies.keys().next().expect("a cookie").clone();
    // A front end with another secret, as of another shop.
    let secret = ("TOKEN_SECRET", "another secret which signs the cookies of another shop");
    let (_, foreign) = start_web_for_operators(&mut shop, &[secret]).await;
    let foreign = logged_in(&foreign, ADA).await.cookies[&name].clone();
    for wrong in [String::new(), "x".to_owned(), cookie.replace("ada", "rita"), format!("{cookie}0"), foreign] {
        let mut browser = Visitor::new(&operators.web);
        browser.cookies.insert(name.clone(), wrong.clone());
        for path in ["/ops", "/ops/orders", "/ops/dead-letters", "/ops/products", "/ops/audit"] {
            assert_eq!(browser.get(path).await.status, StatusCode::SEE_OTHER, "{path} with {wrong}");
        }
        let form = post(&mut browser, "/ops/products/MUG-BLUE/stock", &[("available", "1")]).await;
        assert_eq!((form.status, form.header("location")), (StatusCode::SEE_OTHER, "/ops/login?next=%2Fops"));
    }
    // The API does not accept the cookie.
    let answer = operators.web.get("/admin/orders", &[("cookie", &format!("{name}={cookie}"))]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let mut rita = logged_in(&operators, RITA).await;
    let stock = page(&mut rita, "/ops/products").await;
    assert!(stock.text.contains("MUG-BLUE") && !stock.text.contains("/stock\""), "{}", stock.text);
    for path in ["/ops/products/MUG-BLUE/stock", "/ops/dead-letters/replay", "/ops/dead-letters/discard"] {
        let refused = post(&mut rita, path, &[("available", "1"), ("queue", QUEUE), ("confirmed", "1")]).await;
        assert!(refused.status == StatusCode::FORBIDDEN && refused.text.contains("role operate"), "{refused:?}");
    }
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await, 1_000_000);
    shop.close().await;
}

/// Waits until the page of this replay shows that it is done.
async fn until_done(browser: &mut Visitor, begun: &Page) {
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{begun:?}");
    until("the page shows that it is done", async || {
        let replay = browser.get(begun.header("location")).await;
        if replay.text.contains(">done<") { Ok(()) } else { Err(replay.text) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_replayed_and_discarded_after_confirmation() {
    let (mut shop, web, orders, probe) = with_dead_orders(4).await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let (mut ada, mut rita) = (logged_in(&operators, ADA).await, logged_in(&operators, RITA).await);
    let letters = page(&mut ada, "/ops/dead-letters").await;
    assert!(letters.text.contains("broken") && letters.text.contains(&orders[0].id.to_string()), "{}", letters.text);
    // Rita sees the same, without buttons.
    let seen = page(&mut rita, "/ops/dead-letters").await;
    assert!(seen.text.contains("broken") && !seen.text.contains("Replay…"), "{}", seen.text);
    let seen = page(&mut rita, &format!("/ops/orders/{}", orders[3].id)).await;
    assert!(seen.text.contains("Its dead letters") && !seen.text.contains("/ops/dead-letters/replay"), "{}", seen.text);

    // The page's own form: the first request only shows the plan.
    let reason = letters.field("reason");
    let fields = ["queue", "reason", "order", "message"].map(|name| (name, second(&letters, name)));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!((fields[0].1, reason.as_str()), (QUEUE, ""), "the search comes first");
    let plan = post(&mut ada, "/ops/dead-letters/replay", &fields).await;
    assert!(plan.text.contains("Replay 4 messages?"), "{}", plan.text);
    probe.until_dead(PAYMENT, 4).await;
    repair_payments(&shop).await;
    replayed_from_its_own_page(&mut ada, &web, &orders[3]).await;
    probe.until_dead(PAYMENT, 3).await;
    let one = [("queue", QUEUE), ("order", &orders[0].id.to_string())];
    let discard = post(&mut ada, "/ops/dead-letters/discard", &one).await;
    assert!(discard.text.contains("Discard 1 message?"), "{}", discard.text);
    probe.until_dead(PAYMENT, 3).await;
    let discard = post(&mut ada, "/ops/dead-letters/discard", &[&one[..], &[("confirmed", "1")]].concat()).await;
    assert!(discard.text.contains("1 message was discarded"), "{}", discard.text);
    until_number(&shop, 1, "SELECT count(*) FROM messaging.dead_letters WHERE left_by = 'discarded'").await;

    let confirmed = [&fields[..], &[("confirmed", "1"), ("canary", "1"), ("rate", "50")]].concat();
    let begun = post(&mut ada, "/ops/dead-letters/replay", &confirmed).await;
    until_done(&mut ada, &begun).await;
    shop.until_orders("shipped", 3).await;
    let after = page(&mut ada, "/ops/dead-letters").await;
    assert!(after.text.contains("There are no dead letters") && after.text.contains("2 of 2"), "{}", after.text);
    let audit = page(&mut ada, "/ops/audit").await;
    assert!(audit.text.contains("Began to replay") && audit.text.contains("href=\"/ops/replays/"), "{}", audit.text);
    let audit = operators.get("/admin/audit?limit=3").await;
    assert_eq!(audit["items"][0]["who"], json!("ada"), "{audit}");
    // One order's charge was discarded.
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

/// Replays an order's only dead letter from the order's page.
async fn replayed_from_its_own_page(ada: &mut Visitor, web: &Web, order: &Order) {
    let (id, path) = (order.id.to_string(), format!("/ops/orders/{}", order.id));
    let failed = page(ada, &path).await;
    assert!(!failed.text.contains("orderflow dlq"), "the page does not refer to commands: {}", failed.text);
    for action in ["replay", "discard"] {
        let form = failed.text.split(&format!("action=\"/ops/dead-letters/{action}\"")).nth(1).expect("its form");
        for (name, value) in [("queue", QUEUE), ("order", &id)] {
            assert!(form.contains(&format!("name=\"{name}\" value=\"{value}\"")), "{form}");
        }
    }
    let replay = "/ops/dead-letters/replay";
    let question = post(ada, replay, &[("queue", QUEUE), ("order", &id), ("reason", "")]).await;
    assert!(question.text.contains("Replay 1 message?"), "{}", question.text);
    let begun = post(ada, replay, &[&as_asked(&question)[..], &[("canary", "1"), ("rate", "50")]].concat()).await;
    until_done(ada, &begun).await;
    web.until_status(order, "shipped").await;
    let after = page(ada, &path).await;
    assert!(!after.text.contains("/ops/dead-letters/replay"), "{}", after.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_arrive_before_the_confirmation_are_untouched() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let probe = shop.probe().await;
    let die = async |body: &[u8]| probe.publish(names::DEAD_LETTERS, &PAYMENT.queue(), body).await;
    // A zero byte, which the database cannot store unchanged.
    die(b"{\"type\":\"\\u0000\",\"\\u0000\":[\"\\u0000\"]}").await;
    die(b"the second").await;
    probe.until_dead(PAYMENT, 2).await;
    let mut browser = logged_in(&operators, ADA).await;
    let question = post(&mut browser, "/ops/dead-letters/discard", &[("queue", QUEUE)]).await;
    assert!(question.text.contains("Discard 2 messages?"), "{}", question.text);
    die(b"the third").await;
    probe.until_dead(PAYMENT, 3).await;
    let gone = post(&mut browser, "/ops/dead-letters/discard", &as_asked(&question)).await;
    assert!(gone.text.contains("2 messages were discarded"), "{}", gone.text);
    let kept = operators.get("/admin/discards").await;
    let bodies: Vec<_> = [0, 1].into_iter().map(|index| kept["items"][index]["letter"]["body"].clone()).collect();
    assert_eq!(bodies, [json!("the second"), json!({ "type": "\u{fffd}", "\u{fffd}": ["\u{fffd}"] })], "{kept}");

    // A replay does not include later dead letters either.
    let question = post(&mut browser, "/ops/dead-letters/replay", &[("queue", QUEUE)]).await;
    assert!(question.text.contains("Replay 1 message?"), "{}", question.text);
    die(b"the fourth").await;
    probe.until_dead(PAYMENT, 2).await;
    let begun = post(&mut browser, "/ops/dead-letters/replay", &as_asked(&question)).await;
    let path = begun.header("location").replace("/ops/", "/admin/");
    until("one is replayed", async || {
        let replay = operators.get(&path).await;
        if replay["sent"] == 1 { Ok(()) } else { Err(replay) }
    })
    .await;
    assert_eq!(operators.get(&path).await["selected"], 1);
    shop.start_worker(&[]).await;
    shop.close_with_dead_letters(&[(PAYMENT, 2)]).await;
}

/// Returns the hidden fields of the page's own form, which confirm the question.
fn as_asked(question: &Page) -> Vec<(&str, &str)> {
    let hidden = question.text.split("type=\"hidden\" name=\"").skip(1);
    let fields: Vec<_> = hidden
        .filter_map(|rest| {
            rest.split_once("\" value=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?.0)))
        })
        .collect();
    assert!(fields.contains(&("confirmed", "1")), "{fields:?}");
    fields
}

/// Returns the value of the page's first hidden field of this name, that of the first form with a button.
fn second(page: &Page, name: &str) -> String {
    let hidden = format!("type=\"hidden\" name=\"{name}\" value=\"");
    let value = page.text.split(&hidden).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_else(|| panic!("no {name}")).replace("&#34;", "\"").replace("&#38;", "&").replace("&#39;", "'")
}

#[tokio::test(flavor = "multi_thread")]
async fn console_reports_what_is_unavailable_and_works_without_it() {
    let mut shop = Shop::open().await;
    let broker = format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow");
    let (url, ui) = (shop.database_url(), "https://rabbit.example/ui");
    let wire = Proxy::to(&url).await;
    let through = wire.through(&url);
    let away = [
        ("AMQP_ADMIN_URL", broker.as_str()),
        ("RABBITMQ_MANAGEMENT_URL", "http://127.0.0.1:1"),
        ("RABBITMQ_UI_URL", ui),
        ("TRACE_VIEWER_URL", "https://traces.example/{trace_id}"),
        ("DATABASE_URL", through.as_str()),
    ];
    let (web, operators) = start_web_for_operators(&mut shop, &away).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let mut browser = logged_in(&operators, ADA).await;
    let overview = page(&mut browser, "/ops").await;
    assert!(overview.text.contains("Currently unknown") && overview.text.contains("127.0.0.1:1"), "{}", overview.text);
    assert!(overview.text.contains("https://rabbit.example/ui/#/queues/orderflow/payment%2Eorder%2Dcreated"));
    let path = format!("/ops/orders/{}", order.id);
    assert!(page(&mut browser, "/ops/orders").await.text.contains(&path));
    assert!(page(&mut browser, &path).await.text.contains("https://traces.example/"));
    let letters = browser.get("/ops/dead-letters").await;
    assert!(
        letters.status == StatusCode::SERVICE_UNAVAILABLE && letters.text.contains("RabbitMQ cannot"),
        "{letters:?}"
    );
    wire.cut().await;
    for path in ["/ops/orders", "/ops/products", "/ops/audit", path.as_str()] {
        let page = browser.get(path).await;
        let said = page.text.contains("The database cannot be reached");
        assert!(page.status == StatusCode::SERVICE_UNAVAILABLE && said, "{path}: {page:?}");
    }
    until_shown(&mut browser, "/ops", "DATABASE_URL").await;
    // Operators can still log in.
    logged_in(&operators, RITA).await;
    wire.mend().await;
    shop.start_worker(&[]).await;
    shop.close().await;
}
