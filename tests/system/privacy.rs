//! Personal data and secrets are in the database and in mails, and nowhere else.

use orderflow_tests::{DECLINED, Shop, SmtpSink, VISA, key};
use serde_json::json;

use crate::bad_input::EVERYTHING;

/// The most verbose `RUST_LOG`, also for libraries: below info, they log the data that passes through them.
const ALL_LEVELS: (&str, &str) = (
    "RUST_LOG",
    "trace,tokio_postgres=trace,lapin=trace,lettre=trace,hyper=trace,h2=trace,reqwest=trace,actix_http=trace",
);

/// Decodes the bytes that a log line contains as lists of numbers, such as `[65, 100, 97]`.
fn decoded(line: &str) -> String {
    let lists = line.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let bytes = lists.map(|list| list.split(", ").map_while(|number| number.parse::<u8>().ok()).collect::<Vec<_>>());
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_of_byte_values_are_decoded() {
    assert_eq!(decoded("parameters: [[88, 101, 110, 105, 97], [1, 300]]"), " Xenia \u{1}");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_in_no_log_of_any_level() {
    let mut shop = Shop::open().await;
    let smtp = SmtpSink::start(0).await;
    let web = shop.start_web_with(&[ALL_LEVELS]).await;
    let mail = [ALL_LEVELS, ("MAIL", "smtp"), ("SMTP_URL", smtp.url.as_str())];
    shop.start_worker_with(&[], &mail).await;
    let order_key = key();
    let order = json!({
        "customer": { "name": "Xenia Quibble", "email": "xenia.quibble@private.example" },
        "shipping_address": {
            "line1": "77 Whisper Lane", "line2": "Attic Q", "city": "Hushford", "postal_code": "SW9 9ZZ", "country": "GB"
        },
        "items": [{ "sku": "MUG-BLUE", "quantity": 1 }],
        "payment": { "method": VISA },
    });
    let order = web.place(&order_key, &order).await.accepted();
    web.until_status(&order, "shipped").await;
    shop.until_quiet().await;
    let secrets = ["Xenia", "Quibble", "private.example", "Whisper", "Hushford", "SW9 9ZZ", &order_key, &order.token];
    let log: Vec<String> = shop.webs()[0].log().into_iter().chain(shop.workers()[0].log()).collect();
    assert!(
        log.iter().any(|line| line.contains("DEBUG") || line.contains("TRACE")),
        "the log has our own lines of these levels"
    );
    for line in &log {
        let numbers = decoded(line);
        for secret in secrets {
            assert!(!line.contains(secret) && !numbers.contains(secret), "{secret:?} is in the log: {line}");
        }
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_and_secrets_are_in_no_log_and_in_no_event() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[EVERYTHING]).await;
    shop.start_worker_with(&[], &[EVERYTHING]).await;
    let probe = shop.probe().await;
    let tap = probe.tap().await;
    let personal = |method: &str| {
        json!({
            "customer": { "name": "Xenia Quibble", "email": "xenia.quibble@private.example" },
            "shipping_address": {
                "line1": "77 Whisper Lane", "line2": "Attic Q", "city": "Hushford", "state": "Quietshire", "postal_code": "SW9 9ZZ", "country": "GB", "phone": "+44 20 7946 0958"
            },
            "items": [{ "sku": "MUG-BLUE", "quantity": 1 }],
            "payment": { "method": method },
        })
    };
    let order_key = key();
    let shipped = web.place(&order_key, &personal(VISA)).await.accepted();
    let declined = web.place(&key(), &personal(DECLINED)).await.accepted();
    web.until_status(&shipped, "shipped").await;
    web.until_status(&declined, "payment_failed").await;
    web.get(&format!("/orders/{}?t={}&email=xenia.quibble@private.example", shipped.id, shipped.token), &[]).await;
    shop.until_quiet().await;
    let last = web.get_of(&shipped, "/timeline").await;
    shop.webs()[0].until_logged(&last.headers["x-request-id"]).await;

    let settings = shop.settings("orderflow-web");
    let value = |name: &str| settings.iter().find(|(one, _)| one == name).expect("it is set").1.clone();
    let mut secrets: Vec<String> = [
        "Xenia",
        "Quibble",
        "xenia.quibble",
        "private.example",
        "Whisper",
        "Attic Q",
        "Hushford",
        "SW9 9ZZ",
        "Quietshire",
        "7946 0958",
    ]
    .map(str::to_owned)
    .to_vec();
    secrets.extend([shipped.token, order_key, value("TOKEN_SECRET"), shop.servers.password("orderflow-web")]);
    let (web_log, worker_log) = (shop.webs()[0].log(), shop.workers()[0].log());
    assert!(
        worker_log.iter().any(|line| line.contains("DEBUG") || line.contains("TRACE")),
        "the log has lines of these levels"
    );
    for secret in &secrets {
        for line in web_log.iter().chain(&worker_log) {
            assert!(!line.contains(secret.as_str()), "{secret:?} is in the log: {line}");
        }
    }
    let events = probe.take_all(&tap).await;
    assert_eq!(events.len(), 4 + 2, "every event of both orders");
    for event in events {
        let text = String::from_utf8(event.data).expect("JSON");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret:?} is in an event: {text}");
        }
    }
    shop.close().await;
}
