//! Invalid input: the problem document names every error, nothing is stored, and nothing secret or personal is logged.

use orderflow_tests::{Answer, Shop, VISA, Web, body, key};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CARD: &str = "4242424242424242";

/// The most verbose level of our own log.
pub const EVERYTHING: (&str, &str) = ("RUST_LOG", "debug,orderflow=trace,orderflow_worker=trace,tokio_postgres=info");

/// Checks that the answer is a problem document in the form of the contract.
#[track_caller]
fn problem(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["type"], format!("/problems/{name}"), "{answer:?}");
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.body["request_id"], answer.headers["x-request-id"]);
    for text in ["title", "detail"] {
        assert!(answer.body[text].as_str().is_some_and(|text| !text.is_empty()), "{text} in {answer:?}");
    }
}

/// Checks that an order is refused for exactly these fields.
async fn refused(web: &Web, order: &Value, expected: &[(&str, &str)]) {
    let answer = web.place(&key(), order).await;
    problem(&answer, 422, "invalid-order");
    let mut errors = answer.errors();
    errors.sort_unstable();
    let mut expected: Vec<_> = expected.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect();
    expected.sort_unstable();
    assert_eq!(errors, expected, "{order}");
    for error in answer.body["errors"].as_array().expect("errors") {
        assert!(error["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{error}");
    }
}

/// Returns a valid order after this change.
fn spoiled(spoil: impl FnOnce(&mut Value)) -> Value {
    let mut order = body("MUG-BLUE", 1, VISA);
    spoil(&mut order);
    order
}

fn put(pointer: &str, value: Value) -> Value {
    spoiled(|order| *order.pointer_mut(pointer).expect("it is there") = value)
}

fn without(parent: &str, member: &str) -> Value {
    spoiled(|order| {
        let parent = order.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        parent.remove(member).expect("it is there");
    })
}

fn items(skus: impl Iterator<Item = String>) -> Value {
    skus.map(|sku| json!({ "sku": sku, "quantity": 1 })).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_order_gets_every_error_and_is_neither_stored_nor_logged() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[EVERYTHING]).await;

    let (quantity, sku) = ("#/items/0/quantity", "#/items/0/sku");
    for (value, code) in [
        (json!(0), "out_of_range"),
        (json!(-1), "out_of_range"),
        (json!(100), "out_of_range"),
        (json!(1_000_000_000), "out_of_range"),
        (json!(u64::MAX), "out_of_range"),
        (json!(1.5), "wrong_type"),
        (json!("1"), "wrong_type"),
        (json!([1]), "wrong_type"),
        (json!(null), "required"),
    ] {
        refused(&web, &put("/items/0/quantity", value), &[(quantity, code)]).await;
    }
    let contract = web.place(&key(), &body("MUG-BLUE", 0, VISA)).await;
    let error = json!({ "pointer": quantity, "code": "out_of_range", "detail": "Must be 1 to 99; got 0." });
    assert_eq!(contract.body["errors"], json!([error]), "the wording of the contract");

    refused(&web, &put("/items", json!([])), &[("#/items", "wrong_count")]).await;
    let skus = items((0..51).map(|number| if number == 0 { "MUG-BLUE".to_owned() } else { format!("NO-{number}") }));
    let many = web.place(&key(), &put("/items", skus)).await;
    problem(&many, 422, "invalid-order");
    assert!(many.errors().contains(&("#/items".to_owned(), "wrong_count".to_owned())), "{many:?}");
    assert!(many.errors().contains(&("#/items/49/sku".to_owned(), "unknown_sku".to_owned())), "{many:?}");
    let twice = items(["MUG-BLUE", "FILTER-100", "MUG-BLUE"].map(str::to_owned).into_iter());
    refused(&web, &put("/items", twice), &[("#/items/2/sku", "duplicate_sku")]).await;
    refused(&web, &body("NO-SUCH-MUG", 1, VISA), &[(sku, "unknown_sku")]).await;
    refused(&web, &body("mug-blue", 1, VISA), &[(sku, "unknown_sku")]).await;
    refused(&web, &body("LAMP-SOLDOUT", 1, VISA), &[(sku, "out_of_stock")]).await;

    for email in
        ["ada", "ada@", "@example.org", "ada@localhost", "a b@example.org", "Ada <ada@example.org>", "a@b@c.org"]
    {
        refused(&web, &put("/customer/email", json!(email)), &[("#/customer/email", "invalid_email")]).await;
    }
    for email in ["\"a b\"@example.org", "zoë@example.org"] {
        refused(&web, &put("/customer/email", json!(email)), &[("#/customer/email", "unmailable_email")]).await;
    }
    for country in [json!("gb"), json!("GBR"), json!("XX"), json!("UK"), json!(""), json!(44)] {
        refused(&web, &put("/shipping_address/country", country), &[("#/shipping_address/country", "invalid_country")])
            .await;
    }
    for method in ["", "visa", "pm_", "pm_card-visa", "pm_card visa", &format!("pm_{}", "a".repeat(65))] {
        refused(&web, &body("MUG-BLUE", 1, method), &[("#/payment/method", "invalid_method")]).await;
    }
    let long = put("/customer/name", json!("x".repeat(201)));
    refused(&web, &long, &[("#/customer/name", "too_long")]).await;
    refused(&web, &put("/customer/name", json!("  ")), &[("#/customer/name", "blank")]).await;
    let line = put("/shipping_address/city", json!("London\r\nBcc: all"));
    refused(&web, &line, &[("#/shipping_address/city", "control_character")]).await;
    for name in ["\u{200b}", "Ada \u{202e}moc.live", "\u{3164}"] {
        refused(&web, &put("/customer/name", json!(name)), &[("#/customer/name", "invisible_character")]).await;
    }
    let code = ("#/shipping_address/postal_code", "invalid_postal_code");
    refused(&web, &put("/shipping_address/postal_code", json!("10115")), &[code]).await;

    for (parent, names) in [
        ("", &["customer", "shipping_address", "items", "payment"][..]),
        ("/customer", &["name", "email"]),
        ("/shipping_address", &["line1", "city", "postal_code", "country"]),
        ("/items/0", &["sku", "quantity"]),
        ("/payment", &["method"]),
    ] {
        for name in names {
            refused(&web, &without(parent, name), &[(&format!("#{parent}/{name}"), "required")]).await;
        }
        let unknown = spoiled(|order| order.pointer_mut(parent).expect("it is there")["extra"] = json!(1));
        refused(&web, &unknown, &[(&format!("#{parent}/extra"), "unknown_field")]).await;
        if !parent.is_empty() {
            refused(&web, &put(parent, json!("text")), &[(&format!("#{parent}"), "wrong_type")]).await;
        }
    }
    for whole in [json!([]), json!("text"), json!(1), json!(null)] {
        refused(&web, &whole, &[("#", "wrong_type")]).await;
    }

    // Many errors in one order, each with its pointer and code.
    let all = json!({
        "customer": { "name": "", "email": "ada" },
        "shipping_address": { "line1": 1, "line2": "x\ty", "city": null, "country": "England", "planet": "Earth" },
        "items": [{ "sku": "MUG-BLUE", "quantity": 0 }, { "sku": "MUG-BLUE", "quantity": 1 }, 7, { "sku": "LAMP-SOLDOUT" }],
        "payment": { "method": "cash" },
        "coupon": "SUMMER",
    });
    let expected = [
        ("#/customer/name", "blank"),
        ("#/customer/email", "invalid_email"),
        ("#/shipping_address/line1", "wrong_type"),
        ("#/shipping_address/line2", "control_character"),
        ("#/shipping_address/city", "required"),
        ("#/shipping_address/country", "invalid_country"),
        ("#/shipping_address/planet", "unknown_field"),
        ("#/items/0/quantity", "out_of_range"),
        ("#/items/1/sku", "duplicate_sku"),
        ("#/items/2", "wrong_type"),
        ("#/items/3/quantity", "required"),
        ("#/items/3/sku", "out_of_stock"),
        ("#/payment/method", "invalid_method"),
        ("#/coupon", "unknown_field"),
    ];
    refused(&web, &all, &expected).await;

    no_card_number_is_repeated(&shop, &web).await;
    for table in ["orders.orders", "orders.idempotency_keys", "messaging.event_log", "messaging.outbox"] {
        assert_eq!(shop.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    let last = web.get("/nothing", &[]).await;
    shop.webs()[0].until_logged(&last.headers["x-request-id"]).await;
    let log = shop.webs()[0].log().join("\n");
    assert!(!repeats_a_card(&log), "a card number is in the log");
    for secret in ["Lovelace", "ada@example.org", "12 St James", "SW1Y", "Bcc", "SUMMER", "Earth"] {
        assert!(!log.contains(secret), "{secret:?} is in the log");
    }
    shop.close().await;
}

/// Returns whether `text` contains eight consecutive digits of a card number that was sent, however they are grouped.
/// Four would match times and ids by chance.
fn repeats_a_card(text: &str) -> bool {
    let ungrouped = text.replace([' ', '-', '.', '–', '\u{a0}', '\u{200b}'], "");
    ungrouped.contains("42424242") || ungrouped.contains("37828224")
}

#[test]
fn card_number_is_recognised_and_a_time_is_not() {
    for card in [CARD, "x 4242-4242-4242-4242", "[4242 4242 4242 4242]", "\"378282246310005\""] {
        assert!(repeats_a_card(card), "{card}");
    }
    assert!(!repeats_a_card("2026-11-23T22:00:17.424215Z INFO 0198f1c2-4242-7d30"));
}

/// Anything that looks like a card number is refused in any field, and neither the answer nor the log repeats it.
async fn no_card_number_is_repeated(shop: &Shop, web: &Web) {
    let spaced = "4242 4242 4242 4242";
    for method in [CARD, spaced, "4242-4242-4242-4242", "pm_4242424242424242", "pm_card_378282246310005"] {
        let answer = web.place(&key(), &body("MUG-BLUE", 1, method)).await;
        problem(&answer, 422, "invalid-order");
        assert_eq!(answer.errors(), [("#/payment/method".to_owned(), "card_number_refused".to_owned())], "{method}");
        assert!(!repeats_a_card(&answer.body.to_string()), "{answer:?}");
    }
    let mut answers = Vec::new();
    for order in [
        put("/customer/name", json!(spaced)),
        put("/shipping_address/line1", json!("4242.4242.4242.4242")),
        put("/shipping_address/city", json!("4242\u{200b}4242\u{a0}4242–4242")),
        spoiled(|order| order["shipping_address"]["phone"] = json!(spaced)),
        put("/items/0/quantity", json!(4_242_424_242_424_242_u64)),
        spoiled(|order| order[CARD] = json!("x")),
        spoiled(|order| order["payment"]["number"] = json!(CARD)),
    ] {
        let answer = web.place(&key(), &order).await;
        assert!(answer.errors().iter().any(|(_, code)| code == "card_number_refused"), "{answer:?}");
        answers.push(answer);
    }
    // A SKU may look like a card number: an EAN does. An unknown SKU is neither stored nor repeated.
    let sku = web.place(&key(), &put("/items/0/sku", json!(CARD))).await;
    assert_eq!(sku.errors(), [("#/items/0/sku".to_owned(), "unknown_sku".to_owned())]);
    answers.push(sku);
    let cut = format!(r#"{{"payment":{{"method":"{CARD}" "#);
    let headers = [("idempotency-key", "0123456789abcdef"), ("content-type", "application/json")];
    answers.push(web.send(Method::POST, "/orders", &headers, Some(cut.into_bytes())).await);
    problem(answers.last().expect("one"), 400, "malformed-json");
    answers.push(web.get(&format!("/orders/{CARD}?card={CARD}"), &[("x-request-id", CARD)]).await);
    answers.push(web.get(&format!("/{CARD}"), &[]).await);
    for answer in answers {
        assert!(!repeats_a_card(&format!("{answer:?}")), "{answer:?}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
}

/// Sends these bytes and reads until the server closes.
async fn exchange(web: &Web, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(web.root.trim_start_matches("http://")).await.expect("it listens");
    stream.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8(answer).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_valid_order_get_a_problem() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = body("MUG-BLUE", 1, VISA).to_string();
    let post = async |content_type: &str, body: &[u8]| {
        let key = key();
        let headers = [("idempotency-key", key.as_str()), ("content-type", content_type)];
        web.send(Method::POST, "/orders", &headers, Some(body.to_vec())).await
    };
    let json = "application/json";
    for broken in
        [&b""[..], b"{", b"{'a':1}", b"{} {}", b"\xff\xfe", b"nonsense", order.trim_end_matches('}').as_bytes()]
    {
        problem(&post(json, broken).await, 400, "malformed-json");
    }
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonp", ""] {
        problem(&post(other, order.as_bytes()).await, 415, "unsupported-media-type");
    }
    let zipped = [("idempotency-key", "0123456789abcdef"), ("content-type", json), ("content-encoding", "gzip")];
    let zipped = web.send(Method::POST, "/orders", &zipped, Some(order.clone().into_bytes())).await;
    problem(&zipped, 415, "unsupported-media-type");

    // 64 KiB and not a byte more, with or without a content-length.
    let padded = |length: usize| format!("{order}{}", " ".repeat(length - order.len()));
    problem(&post(json, padded(65_537).as_bytes()).await, 413, "body-too-large");
    let chunked = format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\nidempotency-key: 0123456789abcdef\r\n\
         content-type: {json}\r\ntransfer-encoding: chunked\r\n\r\n10001\r\n{}\r\n0\r\n\r\n",
        padded(65_537)
    );
    let answer = exchange(&web, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("/problems/body-too-large"), "{answer}");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    assert_eq!(post(json, padded(65_536).as_bytes()).await.status, StatusCode::ACCEPTED);

    for path in ["/nothing", "/orders/", "/orders/1/2/3", "/admin/orders", "/metrics", "/products/MUG-BLUE"] {
        problem(&web.get(path, &[]).await, 404, "not-found");
    }
    let id = "0198f1c2-7c1e-7d30-9b8a-2f6d1c0e4a11";
    for (method, path, allowed) in [
        (Method::GET, "/orders".to_owned(), "POST"),
        (Method::PUT, "/orders".to_owned(), "POST"),
        (Method::POST, "/products".to_owned(), "GET, HEAD"),
        (Method::DELETE, format!("/orders/{id}"), "GET, HEAD"),
        (Method::PATCH, format!("/orders/{id}/timeline"), "GET, HEAD"),
        (Method::POST, "/healthz".to_owned(), "GET, HEAD"),
    ] {
        let answer = web.send(method, &path, &[], None).await;
        problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.headers["allow"], allowed, "{path}");
    }
    // The server chooses the request id: a client cannot, and each request has its own.
    let chosen = web.get("/nothing", &[("x-request-id", id)]).await;
    problem(&chosen, 404, "not-found");
    assert_ne!(chosen.headers["x-request-id"], id);
    assert_ne!(chosen.headers["x-request-id"], web.get("/nothing", &[]).await.headers["x-request-id"]);
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 1);
    shop.close().await;
}

/// Sends this body as an order, byte for byte.
async fn post(web: &Web, body: String) -> Answer {
    let key = key();
    let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
    web.send(Method::POST, "/orders", &headers, Some(body.into_bytes())).await
}

/// Of two equal keys, some programs read the first and others the last. So a proxy may check another value than we
/// read.
#[tokio::test(flavor = "multi_thread")]
async fn body_with_a_duplicate_key_is_refused() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[EVERYTHING]).await;
    let order = body("MUG-BLUE", 1, VISA).to_string();
    for (from, to, pointer) in [
        (r#""quantity":1"#, r#""quantity":1,"quantity":99"#, "#/items/0/quantity"),
        (r#""method":"pm_card_visa""#, r#""method":"4242424242424242","method":"pm_card_visa""#, "#/payment/method"),
        (r#""method":"pm_card_visa""#, r#""method":"pm_card_visa","m\u0065thod":null"#, "#/payment/method"),
        (r#"{"customer""#, r#"{"payment":{},"customer""#, "#/payment"),
    ] {
        assert!(order.contains(from), "{order}");
        let answer = post(&web, order.replacen(from, to, 1)).await;
        problem(&answer, 400, "duplicate-key");
        assert_eq!(answer.errors(), [(pointer.to_owned(), "duplicate_key".to_owned())], "{answer:?}");
        assert!(answer.body["detail"].as_str().expect("text").contains(pointer), "{answer:?}");
        assert!(!repeats_a_card(&answer.body.to_string()), "{answer:?}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    shop.close().await;
}

/// The largest answer to any body: as large as a body may be.
const LARGEST_ANSWER: usize = 65_536;

/// 33 KB of keys of 64 emoji caused a 9.2 MB answer: pointers repeat every key above them, percent-encoded.
#[tokio::test(flavor = "multi_thread")]
async fn answer_is_bounded_for_any_body() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let emoji = "😀".repeat(64);
    let cards = format!("[{}]", vec!["\"4242424242424242\""; 100].join(","));
    let nested = |levels: usize| (0..levels).fold(cards.clone(), |inner, _| format!(r#"{{"{emoji}":{inner}}}"#));
    problem(&post(&web, nested(120)).await, 400, "too-deep");
    problem(&post(&web, "[".repeat(60_000)).await, 400, "too-deep");
    let wide: Vec<String> = (0..220).map(|number| format!(r#""{number}{emoji}":1"#)).collect();
    let quotes: Vec<String> = (0..400).map(|number| format!(r#""{number}{}":1"#, "\\\"".repeat(60))).collect();
    let items = vec![r#"{"sku":"x","quantity":100000000000}"#; 1_800];
    for body in [
        nested(15),
        format!("{{{}}}", wide.join(",")),
        format!("{{{}}}", quotes.join(",")),
        format!(r#"{{"items":[{}]}}"#, items.join(",")),
        format!("[{}]", vec!["4242424242424242"; 3_000].join(",")),
    ] {
        assert!(body.len() < 65_536, "{}", body.len());
        let answer = post(&web, body).await;
        problem(&answer, 422, "invalid-order");
        let errors = answer.body["errors"].as_array().expect("errors");
        assert!((2..=100).contains(&errors.len()), "{}", errors.len());
        assert!(
            errors.iter().all(|error| error["pointer"].as_str().is_some_and(|text| text.len() <= 256)),
            "{answer:?}"
        );
        let length = answer.headers["content-length"].parse::<usize>().expect("a length");
        assert!(length < LARGEST_ANSWER, "{length}");
        if errors.len() == 100 {
            assert!(answer.body["detail"].as_str().expect("text").contains("there may be more"), "{answer:?}");
        }
    }
    shop.close().await;
}
