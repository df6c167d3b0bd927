//! `POST /orders`: its answers, and that a repeated request never creates a second order.

use std::collections::BTreeSet;

use futures::future::join_all;
use orderflow_tests::{Answer, Shop, VISA, Web, body, key, run, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PUBLIC_URL: &str = "https://shop.example";

async fn orders(shop: &Shop) -> i64 {
    shop.number("SELECT count(*) FROM orders.orders").await
}

/// Places an order with this text as its body.
async fn place_text(web: &Web, key: &str, text: &str) -> Answer {
    let headers = [("idempotency-key", key), ("content-type", "application/json; charset=utf-8")];
    web.send(Method::POST, "/orders", &headers, Some(text.as_bytes().to_vec())).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[track_caller]
fn refused(answer: &Answer, status: u16, problem: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.body["type"], format!("/problems/{problem}"), "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_to_an_order_follows_the_contract_and_prices_come_from_the_catalogue() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[("PUBLIC_URL", PUBLIC_URL)]).await;
    shop.start_worker(&[]).await;
    let mut wanted = body("MUG-BLUE", 2, VISA);
    wanted["items"] = json!([{ "sku": "MUG-BLUE", "quantity": 2 }, { "sku": "FILTER-100", "quantity": 99 }]);
    wanted["shipping_address"]["line2"] = "Second floor".into();
    let answer = web.place(&key(), &wanted).await;
    let order = answer.accepted();
    let number = answer.body["number"].as_str().expect("a number").to_owned();
    // Two mugs at 14.99 and 99 packs of filters at 4.50.
    let total = 2 * 1499 + 99 * 450;
    let path = format!("/orders/{}", order.id);
    assert_eq!(
        answer.body,
        json!({
            "order_id": order.id, "number": number, "status": "pending", "total": total, "currency": "EUR",
            "token": order.token,
            "links": {
                "self": format!("{PUBLIC_URL}{path}"),
                "timeline": format!("{PUBLIC_URL}{path}/timeline"),
                "live": format!("wss://shop.example{path}/live"),
                "page": format!("{PUBLIC_URL}/track/{}?t={}", order.id, order.token),
            },
        })
    );
    assert_eq!(answer.headers["location"], path);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store", "the answer carries a token");
    assert!(!answer.headers.contains_key("idempotent-replayed"));
    assert_eq!(order.id.get_version_num(), 7);
    assert_eq!(number.len(), 10);
    assert!(number.chars().all(|letter| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(letter)), "{number}");

    // The token opens the order, which is stored as requested.
    let seen = web.get_of(&order, "").await;
    assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
    assert_eq!((&seen.body["number"], &seen.body["total"]), (&json!(number), &json!(total)));
    let stored = format!(
        "SELECT count(*) FROM orders.orders WHERE id = '{}' AND customer_name = 'Ada Lovelace' AND
         customer_email = 'ada@example.org' AND address_line1 = '12 St James''s Square' AND address_line2 = 'Second floor'
         AND city = 'London' AND postal_code = 'SW1Y 4JH' AND country = 'GB' AND payment_method = '{VISA}'",
        order.id
    );
    assert_eq!(shop.number(&stored).await, 1);

    // New orders follow price changes in the catalogue; placed orders keep their prices.
    shop.execute("UPDATE catalogue.products SET price = 1750 WHERE sku = 'MUG-BLUE'").await;
    until("the front end knows the new price", async || {
        let products = web.get("/products", &[]).await.body;
        if products["items"][0]["price"] == 1750 { Ok(()) } else { Err(products) }
    })
    .await;
    let later = web.place(&key(), &body("MUG-BLUE", 2, VISA)).await;
    assert_eq!(later.body["total"], 2 * 1750);
    web.until_status(&order, "shipped").await;
    assert_eq!(web.get_of(&order, "").await.body["total"], total);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_gets_the_same_answer_and_creates_no_second_order() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let (key, wanted) = (key(), body("MUG-BLUE", 2, VISA));

    // No 4xx answer consumes the key.
    let mut invalid = wanted.clone();
    invalid["items"][0]["quantity"] = 0.into();
    refused(&web.place(&key, &invalid).await, 422, "invalid-order");
    refused(&web.place(&key, &body("LAMP-SOLDOUT", 1, VISA)).await, 422, "invalid-order");
    refused(&place_text(&web, &key, "{").await, 400, "malformed-json");
    refused(&place_text(&web, &key, &" ".repeat(65_537)).await, 413, "body-too-large");
    let untyped = [("idempotency-key", key.as_str()), ("content-type", "text/plain")];
    let answer = web.send(Method::POST, "/orders", &untyped, Some(wanted.to_string().into_bytes())).await;
    refused(&answer, 415, "unsupported-media-type");
    assert_eq!(orders(&shop).await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM orders.idempotency_keys").await, 0);

    let first = web.place(&key, &wanted).await;
    let order = first.accepted();
    assert!(!replayed(&first));
    // White space, the order of members and a null for an optional member do not make it another request.
    let reordered = r#" {"payment" : {"method":"pm_card_visa"},
        "items":[ {"quantity":2, "sku":"MUG-BLUE"} ],
        "shipping_address": {"country":"GB","postal_code":"SW1Y 4JH","line2":null,"city":"London",
                             "line1":"12 St James\u0027s Square"},
        "customer":{"email":"ada@example.org","name":"Ada Lovelace"}}  "#;
    for again in [web.place(&key, &wanted).await, place_text(&web, &key, reordered).await] {
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.headers["location"], first.headers["location"]);
        assert!(replayed(&again), "{again:?}");
    }
    let mut others = vec![body("MUG-BLUE", 3, VISA), body("MUG-SAND", 2, VISA)];
    others.push(wanted.clone());
    others[2]["customer"]["name"] = "Ada King".into();
    for other in &others {
        refused(&web.place(&key, other).await, 422, "idempotency-key-reused");
    }
    assert_eq!(orders(&shop).await, 1);

    // Sold out afterwards: a repeated request still gets its stored answer, and new ones are refused.
    let ended = run("orderflow", &["stock", "set", "MUG-BLUE", "0"], &shop.operator_settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    until("the front end knows that it is sold out", async || {
        let products = web.get("/products", &[]).await.body;
        if products["items"][0]["in_stock"] == false { Ok(()) } else { Err(products) }
    })
    .await;
    let again = web.place(&key, &wanted).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert!(replayed(&again));
    refused(&web.place(&key, &others[0]).await, 422, "idempotency-key-reused");
    let new = web.place(&orderflow_tests::key(), &wanted).await;
    refused(&new, 422, "invalid-order");
    assert_eq!(new.errors(), [("#/items/0/sku".to_owned(), "out_of_stock".to_owned())]);
    assert_eq!(orders(&shop).await, 1);

    // The stored answer does not depend on the order's progress.
    shop.until_quiet().await;
    assert_eq!(web.place(&key, &wanted).await.body, first.body);
    assert_ne!(web.status(&order).await, "pending");
    shop.close().await;
}

/// An order of version 0.1 whose name and e-mail address are refused today, with the fingerprint that 0.1 stored. A
/// repeated request must still get the stored answer. A refusal would claim that nothing was ordered, and the
/// customer would order and pay again.
#[tokio::test(flavor = "multi_thread")]
async fn order_of_an_older_version_gets_its_stored_answer_although_it_is_invalid_today() {
    const STORED: &str = "54300cfe9ddd09c0ea55962d8e55385e9ec6f6367cb0f977500bf07ee48bd7d5";
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut old = body("MUG-BLUE", 2, VISA);
    old["customer"] = json!({ "name": "\u{200b}", "email": "\"a b\"@example.org" });
    refused(&web.place(&key(), &old).await, 422, "invalid-order");
    let key = key();
    let first = web.place(&key, &body("MUG-BLUE", 2, VISA)).await;
    let mut connection = shop.database().await;
    execute(&mut connection, &format!("UPDATE orders.idempotency_keys SET fingerprint = decode('{STORED}', 'hex')"))
        .await;
    let again = web.place(&key, &old).await;
    assert_eq!((again.status, &again.body), (StatusCode::ACCEPTED, &first.body));
    assert!(replayed(&again), "{again:?}");
    // Another body under this key is another request, whether or not it is valid itself.
    old["items"][0]["quantity"] = 3.into();
    refused(&web.place(&key, &old).await, 422, "idempotency-key-reused");
    refused(&web.place(&key, &body("MUG-BLUE", 2, VISA)).await, 422, "idempotency-key-reused");
    assert_eq!(orders(&shop).await, 1);
    shop.close().await;
}

/// Hong Kong has no postal codes, the USA has states, and carriers need phone numbers. All of these reach shipping's
/// view.
#[tokio::test(flavor = "multi_thread")]
async fn address_has_the_fields_of_its_country() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut hong_kong = body("MUG-BLUE", 1, VISA);
    hong_kong["shipping_address"] =
        json!({ "line1": "1 Nathan Road", "city": "Kowloon", "country": "HK", "phone": "+852 2123 4567" });
    let mut texas = body("MUG-BLUE", 1, VISA);
    texas["shipping_address"] =
        json!({ "line1": "1 Main Street", "city": "Austin", "state": "TX", "postal_code": "78701", "country": "US" });
    for order in [&hong_kong, &texas] {
        let placed = web.place(&key(), order).await.accepted();
        web.until_status(&placed, "shipped").await;
    }
    let shipping = |what: &str| format!("SELECT count(*) FROM orders.v_shipping WHERE {what}");
    let to_hong_kong = "country = 'HK' AND postal_code = '' AND state IS NULL AND phone = '+852 2123 4567'";
    assert_eq!(shop.number(&shipping(to_hong_kong)).await, 1);
    let to_texas = "country = 'US' AND postal_code = '78701' AND state = 'TX' AND phone IS NULL";
    assert_eq!(shop.number(&shipping(to_texas)).await, 1);

    // During an upgrade, a program of the previous version, which knows neither column, still runs alongside this one.
    shop.execute(
        "INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email,
             address_line1, city, postal_code, country, payment_method, created_at, updated_at)
         VALUES ('0198f1c2-7c1e-7d30-9b8a-2f6d1c0e4a11', 'OLDPROGRAM', 'payment_failed', 1, 1, 'EUR', 'Ada', 'ada@example.org',
             'x', 'y', 'z', 'GB', 'pm_card_visa', now(), now())",
    )
    .await;
    let old = "SELECT count(*) FROM (SELECT order_id, name, address_line1, address_line2, city, postal_code, country
               FROM orders.v_shipping) AS row WHERE postal_code IS NOT NULL";
    assert_eq!(shop.number(old).await, 3);
    shop.execute("DELETE FROM orders.orders WHERE number = 'OLDPROGRAM'").await;
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_16_to_255_printable_ascii_characters() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let wanted = body("MUG-BLUE", 1, VISA);
    let no_key = [("content-type", "application/json")];
    let answer = web.send(Method::POST, "/orders", &no_key, Some(wanted.to_string().into_bytes())).await;
    refused(&answer, 400, "idempotency-key-invalid");
    let two = [("idempotency-key", "0123456789abcdef"), ("idempotency-key", "fedcba9876543210"), no_key[0]];
    let answer = web.send(Method::POST, "/orders", &two, Some(wanted.to_string().into_bytes())).await;
    refused(&answer, 400, "idempotency-key-invalid");
    for wrong in ["", "0123456789abcde", &"k".repeat(256), "schlüssel-von-zoë-0001", "a tab\tin the middle"] {
        refused(&web.place(wrong, &wanted).await, 400, "idempotency-key-invalid");
    }
    assert_eq!(orders(&shop).await, 0);
    for right in ["0123456789abcdef", &"k".repeat(255), "~!@#$%^&*() {}[]|\"'<>"] {
        assert!(!replayed(&web.place(right, &wanted).await));
    }
    assert_eq!(orders(&shop).await, 3);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_create_one_order() {
    let mut shop = Shop::open().await;
    let webs = [shop.start_web().await, shop.start_web().await];
    shop.start_worker(&[]).await;
    let (one_key, wanted) = (key(), body("MUG-BLUE", 1, VISA));
    let answers = join_all((0..50).map(|number| webs[number % 2].place(&one_key, &wanted))).await;
    let first = &answers[0];
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::ACCEPTED, &first.body));
    }
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1, "exactly one request creates the order");
    assert_eq!(orders(&shop).await, 1);
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log WHERE version = 1").await, 1);

    // Within a batch, one of two different requests with the same key wins and the other is refused, and equal
    // requests share an answer. The lock blocks every transaction of the front end, so that the requests queued
    // behind them share a batch.
    let mut connection = shop.database().await;
    execute(&mut connection, "BEGIN").await;
    execute(&mut connection, "LOCK TABLE orders.idempotency_keys IN SHARE MODE").await;
    let keys: Vec<String> = (0..20).map(|_| key()).collect();
    let bodies: Vec<Value> = (1..=3).map(|quantity| body("MUG-BLUE", quantity, VISA)).collect();
    let placing = join_all(keys.iter().flat_map(|key| [0, 1, 1].map(|which| webs[0].place(key, &bodies[which]))));
    let release = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND query LIKE '%idempotency_keys%'";
        until("every committer of the front end waits", async || {
            let waiting = shop.number(waiting).await;
            if waiting == 3 { Ok(()) } else { Err(waiting) }
        })
        .await;
        execute(&mut connection, "COMMIT").await;
    };
    let (answers, ()) = tokio::join!(placing, release);
    for three in answers.chunks(3) {
        let accepted: Vec<_> = three.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).collect();
        let made: BTreeSet<_> = accepted.iter().map(|answer| answer.accepted().id).collect();
        assert_eq!(made.len(), 1, "one order per key: {three:?}");
        let fresh = accepted.iter().filter(|answer| !replayed(answer)).count();
        assert_eq!(fresh, 1, "{three:?}");
        for other in three.iter().filter(|answer| answer.status != StatusCode::ACCEPTED) {
            refused(other, 422, "idempotency-key-reused");
        }
        assert_eq!(three[1].status, three[2].status, "equal requests, equal answers");
        assert_ne!(three[0].status, three[1].status, "different requests, different answers");
    }
    assert_eq!(orders(&shop).await, 21);
    shop.close().await;
}

async fn execute(connection: &mut orderflow_service::store::Connection, sql: &str) {
    use diesel_async::RunQueryDsl as _;
    diesel::sql_query(sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
