//! Bodies that only an attacker or a broken program sends: the answer to any of them is bounded.

use actix_web::body::MessageBody as _;
use orderflow_order::placing::{catalogue::Catalogue, fingerprint, json, validate};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::Problem;

/// The largest allowed answer to a body of 64 KiB: one and a half times its size.
const LARGEST_ANSWER: usize = 96 * 1024;

fn good() -> Value {
    json!({
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "shipping_address": {"line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"},
        "items": [{"sku": "MUG", "quantity": 2}],
        "payment": {"method": "pm_card_visa"},
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9 .-]{12,30}",
        Just("4111 1111 1111 1111".to_owned()),
        "😀{1,64}",
        "[A-Z0-9-]{1,32}"
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            vec((text(), inner), 0..8).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Long names nested in one another, with card-like numbers at the bottom: the shape with the longest pointers.
fn deep() -> impl Strategy<Value = Value> {
    (0_usize..130, text(), vec(text(), 0..100)).prop_map(|(depth, name, bottom)| {
        (0..depth).fold(Value::from(bottom), |inner, _| Value::Object([(name.clone(), inner)].into_iter().collect()))
    })
}

/// The place in an order where a value is put.
fn place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "/more",
        "/customer",
        "/customer/name",
        "/customer/email",
        "/shipping_address",
        "/shipping_address/line2",
        "/shipping_address/postal_code",
        "/shipping_address/country",
        "/items",
        "/items/0",
        "/items/0/sku",
        "/items/0/quantity",
        "/payment",
        "/payment/method",
        "/replaces",
    ])
}

/// Handles a body as `POST /orders` does, up to the database.
fn answered(body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(order) = json::parse(body) else { return Ok(()) };
    let catalogue = Catalogue::new(Vec::new());
    prop_assert_eq!(fingerprint::of(&order), fingerprint::of(&order));
    let Err(errors) = validate::order(&order, &catalogue) else { return Ok(()) };
    prop_assert!((1..=100).contains(&errors.len()), "{} errors", errors.len());
    let answer = Problem::invalid_order(errors).document(Uuid::nil()).into_body().try_into_bytes();
    let length = answer.map_or(0, |answer| answer.len());
    prop_assert!(body.len() > 64 * 1024 || length <= LARGEST_ANSWER, "{} bytes for {}", length, body.len());
    Ok(())
}

proptest! {
    #[test]
    fn any_body_gets_a_bounded_answer(
        bytes in vec(any::<u8>(), 0..300),
        place in place(),
        value in prop_oneof![value(), deep()],
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        answered(&bytes)?;
        let mut order = good();
        if place.is_empty() {
            order = value;
        } else if let Some((parent, field)) = place.rsplit_once('/') {
            match order.pointer_mut(parent) {
                Some(Value::Object(fields)) => drop(fields.insert(field.to_owned(), value)),
                Some(Value::Array(elements)) => elements[0] = value,
                _ => {}
            }
        }
        let mut body = serde_json::to_vec(&order).expect("JSON");
        answered(&body)?;
        let at = at.index(body.len());
        body[at] = byte;
        answered(&body)?;
    }
}
