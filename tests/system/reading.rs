//! What customers and programs can read: orders, only with their token, and the public endpoints.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use orderflow_tests::{Answer, Order, Shop, VISA, Web, plaintext};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

const SECRET: &str = "a secret that only this test and its shop know";
const OLDER: &str = "a secret of last year that still verifies tokens";

/// Returns the contract's token: `v1.<expiry>.<HMAC-SHA256(TOKEN_SECRET, order_id|expiry)>`.
fn token(secret: &str, order: Uuid, expiry: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{order}|{expiry}").as_bytes());
    format!("v1.{expiry}.{}", hex::encode(mac.finalize().into_bytes()))
}

fn in_days(days: i64) -> i64 {
    Utc::now().timestamp() + days * 24 * 60 * 60
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Parses a time, which must be RFC 3339 in UTC with milliseconds and `Z`.
#[track_caller]
fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().expect("a text");
    assert_eq!((text.len(), text.as_bytes()[19], text.as_bytes()[23]), (24, b'.', b'Z'), "{text}");
    text.parse().expect("a time")
}

async fn get_if_none_match(web: &Web, order: &Order, tags: &str) -> Answer {
    let bearer = format!("Bearer {}", order.token);
    web.get(&format!("/orders/{}", order.id), &[("authorization", &bearer), ("if-none-match", tags)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_read_only_with_its_token() {
    let mut shop = Shop::open().await;
    let secrets = format!("{SECRET},{OLDER}");
    let web = shop.start_web_with(&[("TOKEN_SECRET", &secrets)]).await;
    let order = web.order("MUG-BLUE", 2, VISA).await;
    let pending = web.get_of(&order, "").await;
    assert_eq!(pending.status, StatusCode::OK, "{pending:?}");
    let (number, created) = (pending.body["number"].clone(), pending.body["created_at"].clone());
    let expected = |status: &str, version: i32, updated: &Value| {
        json!({
            "order_id": order.id, "number": number, "status": status, "version": version, "cancel_requested": false,
            "total": 2998, "currency": "EUR", "created_at": created, "updated_at": updated,
            "items": [{ "sku": "MUG-BLUE", "name": "Blue stoneware mug", "quantity": 2, "price": 1499 }],
        })
    };
    assert_eq!(pending.body, expected("pending", 1, &created));
    for (header, value) in [
        ("etag", "\"1\""),
        ("cache-control", "private, no-cache"),
        ("content-type", "application/json"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(pending.headers[header], value, "{header}");
    }
    for known in ["\"1\"", "W/\"1\"", "\"0\", \"1\"", "*"] {
        let answer = get_if_none_match(&web, &order, known).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::NOT_MODIFIED, &Value::Null), "{known}");
        assert_eq!((&*answer.headers["etag"], &*answer.headers["cache-control"]), ("\"1\"", "private, no-cache"));
    }
    for unknown in ["\"0\"", "\"11\"", "1"] {
        assert_eq!(get_if_none_match(&web, &order, unknown).await.status, StatusCode::OK, "{unknown}");
    }

    shop.start_worker(&[]).await;
    web.until_status(&order, "shipped").await;
    let shipped = get_if_none_match(&web, &order, "\"1\"").await;
    assert_eq!((shipped.status, &*shipped.headers["etag"]), (StatusCode::OK, "\"4\""));
    assert_eq!(shipped.body, expected("shipped", 4, &shipped.body["updated_at"]));
    assert!(time(&shipped.body["updated_at"]) > time(&created));

    let timeline = web.get_of(&order, "/timeline").await;
    assert_eq!(timeline.headers["cache-control"], "private, no-cache");
    assert_eq!(members(&timeline.body), ["entries", "order_id", "version"]);
    assert_eq!((&timeline.body["order_id"], &timeline.body["version"]), (&json!(order.id), &json!(4)));
    let entries = timeline.body["entries"].as_array().expect("entries");
    for entry in entries {
        assert_eq!(members(entry), ["at", "detail", "event", "event_id", "status", "version"]);
        assert!(entry["detail"].is_string() && time(&entry["at"]) >= time(&created), "{entry}");
    }
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry["event_id"].to_string()).collect();
    assert_eq!(ids.len(), 4);
    let text = timeline.body.to_string();
    assert!(!text.contains("SIM") && !text.contains("pay_") && !text.contains("causation"), "{text}");
    for (after, left) in [("0", 4), ("2", 2), ("3", 1), ("4", 0), ("2147483647", 0)] {
        let answer = web.get_of(&order, &format!("/timeline?after={after}")).await;
        let kept = answer.body["entries"].as_array().expect("entries");
        assert_eq!(kept.as_slice(), &entries[4 - left..], "after {after}");
        assert_eq!(answer.body["version"], 4);
    }
    for wrong in ["x", "-1", "1.5", "", "2147483648"] {
        let answer = web.get_of(&order, &format!("/timeline?after={wrong}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["type"]), (400, &json!("/problems/invalid-parameter")));
    }

    // The token follows the contract, so that other programs can create it; a rotated secret still verifies.
    let (_, expiry_and_signature) = order.token.split_once('.').expect("a version");
    let expiry: i64 = expiry_and_signature.split('.').next().expect("an expiry").parse().expect("seconds");
    assert_eq!(order.token, token(SECRET, order.id, expiry));
    assert_eq!(expiry, time(&created).timestamp() + 90 * 24 * 60 * 60);
    for secret in [SECRET, OLDER] {
        let own = Order { id: order.id, token: token(secret, order.id, in_days(1)) };
        assert_eq!(web.get_of(&own, "").await.status, StatusCode::OK);
    }
    nothing_else_opens(&web, &order).await;
    shop.close().await;
}

/// Anything but the order's token gets the same answer, so that nobody learns which orders exist.
async fn nothing_else_opens(web: &Web, order: &Order) {
    let other = web.order("MUG-SAND", 1, VISA).await;
    let unknown = Uuid::now_v7();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let (expiry, signature) = order.token.rsplit_once('.').expect("a signature");
    let own = order.id.to_string();
    let cases = [
        ("no token", own.clone(), None),
        ("an empty one", own.clone(), Some("Bearer ".to_owned())),
        ("another scheme", own.clone(), Some(format!("Basic {}", order.token))),
        ("no scheme", own.clone(), Some(order.token.clone())),
        ("nonsense", own.clone(), bearer("nonsense")),
        ("another order's", own.clone(), bearer(&other.token)),
        ("cut", own.clone(), bearer(&order.token[..order.token.len() - 2])),
        ("no signature", own.clone(), bearer(&format!("{expiry}."))),
        ("a longer life", own.clone(), bearer(&format!("v1.{}.{signature}", in_days(900)))),
        ("another version", own.clone(), bearer(&token(SECRET, order.id, in_days(1)).replacen("v1", "v2", 1))),
        ("another secret", own.clone(), bearer(&token("no secret of this shop at all, really", order.id, in_days(1)))),
        ("expired", own.clone(), bearer(&token(SECRET, order.id, in_days(0) - 1))),
        ("no such order, rightly signed", unknown.to_string(), bearer(&token(SECRET, unknown, in_days(1)))),
        ("no such order", unknown.to_string(), bearer(&order.token)),
        ("no id", "not-an-id".to_owned(), bearer(&order.token)),
        ("upper case", own.to_uppercase(), bearer(&order.token)),
        ("no hyphens", order.id.simple().to_string(), bearer(&order.token)),
    ];
    let mut expected: Option<String> = None;
    for (case, id, authorization) in cases {
        // Only the holder of a valid token may learn that a parameter is invalid.
        let right = case.ends_with("rightly signed");
        let paths = ["", "/timeline", "/timeline?after=nonsense", "/live", "/live?after=nonsense"];
        for path in &paths[..if right { 2 } else { 5 }] {
            let seen = raw(web, &format!("/orders/{id}{path}"), authorization.as_deref()).await;
            let expected = expected.get_or_insert_with(|| seen.clone());
            assert_eq!(&seen, expected, "{case}, {path}");
        }
    }
    let expected = expected.expect("a request was sent");
    assert!(expected.starts_with("404") && expected.contains("/problems/order-not-found"), "{expected}");
}

/// Returns status, headers and body byte for byte, except for what differs each time: the request's id and the date.
async fn raw(web: &Web, path: &str, authorization: Option<&str>) -> String {
    let client = plaintext().build().expect("a client");
    let mut request = client.request(Method::GET, format!("{}{path}", web.root));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let headers: BTreeSet<String> =
        answer.headers().iter().filter(|(name, _)| *name != "date").map(|header| format!("{header:?}")).collect();
    let head = format!("{} {headers:?}", answer.status().as_u16());
    let body = answer.text().await.expect("text");
    assert!(body.contains(&id), "the problem names its request");
    format!("{head}\n{body}").replace(&id, "ID")
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogue_health_and_api_description_are_public() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let products = web.get("/products", &[]).await;
    assert_eq!((products.status, &*products.headers["cache-control"]), (StatusCode::OK, "no-cache"));
    assert_eq!(members(&products.body), ["items"]);
    let items = products.body["items"].as_array().expect("items");
    assert_eq!(items.len(), 12);
    let mug =
        json!({ "sku": "MUG-BLUE", "name": "Blue stoneware mug", "price": 1499, "currency": "EUR", "in_stock": true });
    assert_eq!(items[0], mug);
    for item in items {
        assert_eq!(members(item), ["currency", "in_stock", "name", "price", "sku"]);
        assert_eq!(item["in_stock"], item["sku"] != "LAMP-SOLDOUT", "{item}");
    }

    let alive = web.get("/healthz", &[]).await;
    assert_eq!((alive.status, &alive.body), (StatusCode::OK, &json!({ "status": "alive" })));
    let ready = web.get("/readyz", &[]).await;
    let all_well = json!({ "status": "ready", "broker": "ok", "database": "ok" });
    assert_eq!((ready.status, &ready.body), (StatusCode::OK, &all_well));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(web.get(path, &[]).await.headers["cache-control"], "no-store");
    }

    let description = web.get("/openapi.json", &[]).await;
    assert_eq!(description.headers["content-type"], "application/json");
    assert!(description.body["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{description:?}");
    // HTTP requires HEAD wherever GET is supported.
    for path in ["/products", "/healthz", "/openapi.json"] {
        let head = web.send(Method::HEAD, path, &[], None).await;
        assert_eq!((head.status, &head.body), (StatusCode::OK, &Value::Null), "{path}");
    }
    shop.close().await;
}
