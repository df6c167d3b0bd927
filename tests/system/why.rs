//! `orderflow why`: what an operator reads about one order, in each of its states.

use diesel_async::SimpleAsyncConnection as _;
use orderflow_tests::{DECLINED, Ended, Order, Shop, VISA, body, key, queues, run, until};
use serde_json::Value;

use crate::commands::{NOWHERE, ended, with};

/// The keys of the contract, in its order.
const KEYS: [&str; 17] = [
    "schema_version",
    "generated_at",
    "order",
    "waiting_for",
    "events",
    "attempts",
    "outbox",
    "missing_deliveries",
    "not_tracked",
    "dead_letters",
    "payments",
    "stock",
    "shipments",
    "mails",
    "trace_ids",
    "violations",
    "unavailable",
];

/// Filters for values that differ in each run, longer ones first.
pub const FILTERS: [(&str, &str); 9] = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC", "CLOCK UTC"),
    (r"(pay|ch|re)(_sim)?_[0-9a-f]{32}", "${1}_ID"),
    (r"\b[0-9a-f]{32}\b", "TRACE"),
    (r"\bSIM[0-9A-F]{12}\b", "TRACKING"),
    (r"\b[0-9A-HJKMNP-TV-Z]{10}\b", "NUMBER"),
    (r"-?\d+ (ms|s|min)( \d+ s)?\b", "SPAN"),
    // Column widths follow the values replaced above. A unit test checks the alignment.
    (r"(\S) {2,}", "$1  "),
];

async fn why(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["why"], arguments].concat(), &shop.operator_settings()).await
}

/// Returns the text about an order; every part must be readable.
async fn told(shop: &Shop, order: &Order) -> String {
    let told = why(shop, &[&order.id.to_string()]).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.out.lines().all(|line| line.chars().count() <= 100), "{}", told.out);
    impersonal(&told.out);
    told.out
}

/// Returns the JSON report about an order; every part must be readable.
pub async fn json(shop: &Shop, order: &Order) -> Value {
    let told = why(shop, &[&order.id.to_string(), "--json"]).await;
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{told:?}");
    impersonal(&told.out);
    // The keys keep this order, because people read the report.
    let places: Vec<_> = KEYS.map(|key| told.out.find(&format!("\n  \"{key}\": "))).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", told.out);
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(report.as_object().expect("an object").len(), KEYS.len());
    assert_eq!((&report["schema_version"], &report["unavailable"]), (&1.into(), &Value::Array(Vec::new())));
    report
}

#[track_caller]
fn impersonal(text: &str) {
    for personal in ["Lovelace", "example.org", "12 St James", "London", "SW1Y"] {
        // The domain of a Message-ID is the shop's, not the customer's.
        let told = text.replace(".received@example.org", "").replace(".declined@example.org", "");
        let told = told.replace(".shipped@example.org", "").replace(".cancelled@example.org", "");
        assert!(!told.contains(personal), "{personal} is in the text: {text}");
    }
}

/// Places an order and waits for its first mail before anything else happens, so that the sequence of its mails is
/// fixed.
pub async fn place(shop: &mut Shop, sku: &str, method: &str) -> Order {
    let web = shop.start_web().await;
    shop.start_worker(&["email.order-created"]).await;
    let order = web.order(sku, 2, method).await;
    let sent = format!("SELECT count(*) FROM email.mails WHERE order_id = '{}' AND sent_at IS NOT NULL", order.id);
    until("it is mailed", async || if shop.number(&sent).await == 1 { Ok(()) } else { Err(()) }).await;
    order
}

/// Starts a worker and waits until the rest of the work is done.
pub async fn work(shop: &mut Shop) {
    shop.start_worker(&[]).await;
    shop.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shipped_order_is_reported_with_what_is_wrong_and_what_cannot_be_read() {
    let mut shop = Shop::open().await;
    let order = place(&mut shop, "MUG-BLUE", VISA).await;
    work(&mut shop).await;
    let text = told(&shop, &order).await;
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("shipped", text) });
    it_waits_for_nothing_and_is_found_by_every_identifier(&shop, &order).await;
    violations_are_reported(&shop, &order).await;
    unreadable_sources_are_named_and_the_rest_is_reported(&shop, &order).await;
    shop.close().await;
}

async fn it_waits_for_nothing_and_is_found_by_every_identifier(shop: &Shop, order: &Order) {
    let report = json(shop, order).await;
    assert_eq!((&report["order"]["status"], &report["order"]["version"]), (&"shipped".into(), &4.into()));
    let count = |part: &str| report[part].as_array().expect("a list").len();
    let counts =
        ["waiting_for", "events", "attempts", "outbox", "missing_deliveries", "dead_letters", "violations"].map(count);
    assert_eq!(counts, [0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(["payments", "shipments", "mails", "trace_ids"].map(count), [1, 1, 2, 1]);
    assert_eq!(report["stock"]["movements"][0]["quantity"], -2);

    // Everything that an operator may have at hand finds the order.
    let number = report["order"]["number"].as_str().expect("a number");
    let written = number.to_lowercase().replace('0', "o").replace('1', "l");
    let grouped = format!("{}-{}", &written[..5], &written[5..]);
    let event = report["events"][2]["event_id"].as_str().expect("an id");
    for named in [number, &grouped, event, "ADA@example.org"] {
        let found = why(shop, &[named]).await;
        ended(&found, 0, &[&order.id.to_string()]);
    }
}

async fn violations_are_reported(shop: &Shop, order: &Order) {
    let mut connection = shop.database().await;
    connection
        .batch_execute("UPDATE orders.orders SET status = 'cancelled', version = 3")
        .await
        .expect("it can be changed");
    let told = why(shop, &[&order.id.to_string()]).await;
    let says = [
        "NOT AS IT SHOULD BE",
        "the order is at version 3, though the order service has applied version 4",
        "the customer is charged, though the order is cancelled",
        "it still holds 2 of MUG-BLUE",
        "there is a shipment, though the order is cancelled",
    ];
    ended(&told, 0, &says);
    connection
        .batch_execute("UPDATE orders.orders SET status = 'shipped', version = 4")
        .await
        .expect("it can be repaired");
    assert_eq!(json(shop, order).await["violations"], Value::Array(Vec::new()));
}

async fn unreadable_sources_are_named_and_the_rest_is_reported(shop: &Shop, order: &Order) {
    let id = order.id.to_string();
    let mut connection = shop.database().await;
    connection.batch_execute("ALTER VIEW payment.v_payments RENAME TO away").await.expect("it can be renamed");
    let json = why(shop, &[&id, "--json"]).await;
    ended(&json, 3, &["payments cannot be read", "v_payments"]);
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["unavailable"], &report["payments"]), (&serde_json::json!(["payments"]), &Value::Null));
    assert_eq!(report["events"].as_array().map(Vec::len), Some(4), "the other parts are still read");
    assert_eq!(report["mails"].as_array().map(Vec::len), Some(2));
    ended(&why(shop, &[&id]).await, 3, &["COULD NOT BE READ", "payments cannot be read", "shipment.created"]);
    connection.batch_execute("ALTER VIEW payment.away RENAME TO v_payments").await.expect("it can be renamed");

    let url = format!("postgres://orderflow:hush@{NOWHERE}/orderflow");
    let away = with(shop.operator_settings(), &[("DATABASE_URL", &url)]);
    let text = run("orderflow", &["why", &id], &away).await;
    ended(&text, 3, &["the order cannot be read", "orderflow doctor"]);
    let json = run("orderflow", &["why", &id, "--json"], &away).await;
    ended(&json, 3, &[]);
    assert!(!text.err.contains("hush") && !json.err.contains("hush"));
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(report.as_object().expect("an object").len(), KEYS.len());
    let unavailable: Vec<&str> =
        report["unavailable"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for part in &KEYS[2..15] {
        assert!(report[*part].is_null() && unavailable.contains(part), "{part}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_and_cancelled_orders_show_the_reason() {
    let mut shop = Shop::open().await;
    let declined = place(&mut shop, "MUG-BLUE", DECLINED).await;
    let refused = place(&mut shop, "BATTERY-BULK", VISA).await;
    work(&mut shop).await;
    let texts = [told(&shop, &declined).await, told(&shop, &refused).await];
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("declined", texts[0]);
        insta::assert_snapshot!("cancelled", texts[1]);
    });
    assert_eq!(json(&shop, &refused).await["violations"], Value::Array(Vec::new()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_without_a_worker_names_the_queue() {
    let mut shop = Shop::open().await;
    let order = place(&mut shop, "MUG-BLUE", VISA).await;
    // As one line, because the length of the wait changes the line breaks.
    let text = told(&shop, &order).await.split_whitespace().collect::<Vec<_>>().join(" ");
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("waiting", text) });
    // Trial G2: the command said "nothing to do yet" while the customer's page said that a step stood still. Both now
    // use one source.
    let waits = json(&shop, &order).await["waiting_for"].clone();
    let states: Vec<_> =
        waits.as_array().expect("a list").iter().map(|wait| (&wait["state"], &wait["subscription"])).collect();
    let queues = ["payment.order-created", "inventory.payment-completed"].map(Value::from);
    assert_eq!(states, queues.iter().map(|queue| (&waits[0]["state"], queue)).collect::<Vec<_>>());
    assert_eq!(waits[0]["state"], "late");
    let away = with(
        shop.operator_settings(),
        &[("AMQP_ADMIN_URL", &format!("amqp://orderflow-admin:hush@{NOWHERE}/orderflow"))],
    );
    let unknown = run("orderflow", &["why", &order.id.to_string()], &away).await;
    ended(&unknown, 0, &["whether a worker is running is unknown"]);
    assert!(!unknown.out.contains("nothing to do"), "{unknown:?}");
    let missing = json(&shop, &order).await["missing_deliveries"].clone();
    assert_eq!((&missing[0]["subscription"], &missing[0]["retry_at"]), (&"payment.order-created".into(), &Value::Null));
    assert_eq!(missing.as_array().map(Vec::len), Some(1));
    work(&mut shop).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_reported_with_reason_and_remedy() {
    let mut shop = Shop::open().await;
    let order = place(&mut shop, "MUG-BLUE", VISA).await;
    let queue = queues::PAYMENT_ORDER_CREATED.queue();
    let event = format!("(SELECT event_id FROM messaging.event_log WHERE order_id = '{}')", order.id);
    // Short, so that line breaks stay the same when the day changes.
    let reason = "busy";
    shop.execute(&format!(
        "INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at, retry_at)
         VALUES ({event}, '{queue}', 1, '{reason}', 'orderflow-worker @h 1', now(), now() + interval '1 hour')"
    ))
    .await;
    let report = json(&shop, &order).await;
    assert_eq!(report["waiting_for"][0]["state"], "retrying");
    assert!(report["missing_deliveries"][0]["retry_at"].is_string(), "{report}");
    let text = told(&shop, &order).await;
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("retrying", text) });

    shop.execute(&format!(
        "INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at)
         VALUES ({event}, '{queue}', 2, '{reason}', 'orderflow-worker @h 1', now())"
    ))
    .await;
    shop.execute(&format!(
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         VALUES ({event}, '{queue}', 2, '{reason}', 'orderflow-worker @h 1', now())"
    ))
    .await;
    let report = json(&shop, &order).await;
    assert_eq!(
        (&report["waiting_for"][0]["state"], &report["dead_letters"][0]["reason"]),
        (&"parked".into(), &reason.into())
    );
    assert_eq!(report["missing_deliveries"], Value::Array(Vec::new()), "a parked delivery is not missing");
    let text = told(&shop, &order).await;
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("parked", text) });
    // The index does not learn of a message moved by hand, but the inbox shows that the event is applied.
    work(&mut shop).await;
    let report = json(&shop, &order).await;
    assert_eq!(
        (&report["waiting_for"], &report["dead_letters"]),
        (&Value::Array(Vec::new()), &Value::Array(Vec::new()))
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_remedy_for_a_dead_letter_works() {
    let mut shop = Shop::open().await;
    // A fault that an operator can fix: no payment can be written.
    shop.execute("ALTER TABLE payment.payments ADD CONSTRAINT broken CHECK (false) NOT VALID").await;
    let order = place(&mut shop, "MUG-BLUE", VISA).await;
    shop.start_worker(&[]).await;
    until("the dead letter is recorded", async || {
        let letters = shop.number("SELECT count(*) FROM messaging.dead_letters").await;
        if letters == 1 { Ok(()) } else { Err(letters) }
    })
    .await;
    let wait = json(&shop, &order).await["waiting_for"][0].clone();
    assert_eq!(wait["state"], "parked");
    assert!(wait["what"].as_str().is_some_and(|what| what.contains("having failed 3 times: ")), "{wait}");
    shop.execute("ALTER TABLE payment.payments DROP CONSTRAINT broken").await;

    let remedy = wait["remedy"].as_str().expect("a remedy");
    let mut commands = remedy.split('`').skip(1).step_by(2).map(|command| command.split(' ').collect::<Vec<_>>());
    let (replay, show) = (commands.next().expect("one"), commands.next().expect("another"));
    ended(&run(show[0], &show[1..], &shop.operator_settings()).await, 0, &["payment.order-created"]);
    ended(&run(replay[0], &[&replay[1..], &["--yes"]].concat(), &shop.operator_settings()).await, 0, &[]);
    shop.until_quiet().await;
    let report = json(&shop, &order).await;
    assert_eq!((&report["order"]["status"], &report["waiting_for"]), (&"shipped".into(), &Value::Array(Vec::new())));
    assert_eq!(report["attempts"].as_array().map(Vec::len), Some(3), "failed attempts stay recorded");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_order_is_not_found_and_an_address_lists_its_orders() {
    let mut shop = Shop::open().await;
    for nobody in ["0000000000", "nobody@example.org", "teapot", "01990000-0000-7000-8000-000000000000"] {
        ended(&why(&shop, &[nobody]).await, 1, &["There is no order", nobody, "its number (ten characters)"]);
        let json = why(&shop, &[nobody, "--json"]).await;
        ended(&json, 1, &["\"not_found\""]);
        assert!(serde_json::from_str::<Value>(&json.out).is_ok(), "{json:?}");
    }
    let web = shop.start_web().await;
    let mut two = Vec::new();
    for method in [VISA, DECLINED] {
        let mut order = body("MUG-BLUE", 1, method);
        order["customer"]["email"] = "Bob@Example.org".into();
        two.push(web.place(&key(), &order).await.accepted());
    }
    shop.start_worker(&[]).await;
    shop.until_quiet().await;
    let listed = why(&shop, &["bob@example.org"]).await;
    ended(&listed, 0, &[]);
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("several", listed.out) });
    let json = why(&shop, &["bob@example.org", "--json"]).await;
    ended(&json, 0, &[]);
    let listed: Value = serde_json::from_str(&json.out).expect("JSON");
    let ids: Vec<_> = listed["orders"].as_array().expect("a list").iter().map(|one| one["order_id"].clone()).collect();
    assert_eq!(ids, [two[1].id.to_string(), two[0].id.to_string()], "newest first");

    web.orders(21, "MUG-BLUE", VISA).await;
    let listed = why(&shop, &["ada@example.org"]).await;
    ended(&listed, 0, &["The newest 20 orders of this address"]);
    assert_eq!(listed.out.lines().filter(|line| line.contains("20") && line.contains('-')).count(), 20, "{listed:?}");
    shop.close().await;
}
