//! Every error that a body can have.

use crate::payment_kind::PaymentKind;
use serde_json::{Value, json};

use super::*;
use crate::store::catalogue::Product;

fn catalogue() -> Catalogue {
    let product = |sku: &str, price, currency: &str, available| Product {
        sku: sku.to_owned(),
        name: format!("The {sku}"),
        price,
        currency: currency.to_owned(),
        available,
    };
    Catalogue::new(vec![
        product("MUG", 1499, "EUR", 1_000),
        product("TEA", 450, "EUR", 3),
        product("LAMP", 8900, "EUR", 0),
        product("FOREIGN", 100, "USD", 10),
        product("5449000000996", 100, "EUR", 10),
        product("DEAR", i64::MAX, "EUR", 10),
        product("CHEAP", 10, "EUR", 10),
        product("FREE", 0, "EUR", 1_000),
    ])
}

fn good() -> Value {
    json!({
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "shipping_address": {"line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"},
        "items": [{"sku": "MUG", "quantity": 2}, {"sku": "TEA", "quantity": 1}],
        "payment": {"method": "pm_card_visa"},
    })
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut body = good();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    match body.pointer_mut(parent).expect("a parent") {
        Value::Object(fields) => drop(fields.insert(field.to_owned(), value)),
        Value::Array(elements) => elements[field.parse::<usize>().expect("an index")] = value,
        other => panic!("{other} has no fields"),
    }
    body
}

/// Returns the pointer and code of each error.
fn mistakes(body: &Value) -> Vec<(String, &'static str)> {
    match order(body, &catalogue()) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.into_iter().map(|error| (error.pointer, error.code)).collect(),
    }
}

fn fails(pointer: &str, value: Value, code: &str) {
    let body = changed(pointer, value);
    let found: Vec<(String, String)> =
        mistakes(&body).into_iter().map(|(pointer, code)| (pointer, code.to_owned())).collect();
    assert_eq!(found, [(format!("#{pointer}"), code.to_owned())], "{body}");
}

#[test]
fn valid_order_is_priced_from_the_catalogue() {
    let Ok(priced) = order(&good(), &catalogue()) else { panic!("it is valid") };
    assert_eq!((priced.total, priced.currency.as_str()), (2 * 1499 + 450, "EUR"));
    assert_eq!(
        priced.lines.iter().map(|line| (line.name.as_str(), line.quantity)).collect::<Vec<_>>(),
        [("The MUG", 2), ("The TEA", 1)]
    );
}

#[test]
fn missing_null_and_unknown_fields_are_named() {
    for pointer in
        ["/customer", "/customer/email", "/shipping_address/city", "/items", "/items/0/sku", "/payment/method"]
    {
        fails(pointer, Value::Null, "required");
    }
    fails("/voucher", json!(1), "unknown_field");
    fails("/customer/phone", json!("1"), "unknown_field");
    fails("/items/0/price", json!(1), "unknown_field");
    assert_eq!(mistakes(&json!({})).len(), 4);
}

#[test]
fn wrong_type_is_one_error() {
    assert_eq!(mistakes(&json!([1])), [("#".to_owned(), "wrong_type")]);
    fails("/customer", json!("Ada"), "wrong_type");
    fails("/customer/name", json!(1), "wrong_type");
    fails("/items", json!({}), "wrong_type");
    fails("/items/1", json!("TEA"), "wrong_type");
    for quantity in [json!("2"), json!(1.5), json!(true)] {
        fails("/items/0/quantity", quantity, "wrong_type");
    }
}

#[test]
fn required_text_may_not_be_empty() {
    for pointer in ["/customer/name", "/shipping_address/line1", "/shipping_address/city"] {
        fails(pointer, json!(" "), "blank");
        fails(pointer, json!(""), "blank");
    }
}

#[test]
fn texts_have_length_limits_and_no_control_characters() {
    for (pointer, longest) in [
        ("/customer/name", 200),
        ("/shipping_address/line1", 200),
        ("/shipping_address/line2", 200),
        ("/shipping_address/city", 100),
        ("/shipping_address/state", 100),
    ] {
        assert_eq!(mistakes(&changed(pointer, json!("ä".repeat(longest)))), []);
        fails(pointer, json!("ä".repeat(longest + 1)), "too_long");
        fails(pointer, json!("a\u{0}b"), "control_character");
        fails(pointer, json!("a\nb"), "control_character");
        fails(pointer, json!("a\u{202e}b"), "invisible_character");
        fails(pointer, json!("\u{200b}"), "invisible_character");
    }
    fails("/customer/email", json!(format!("{}@example.com", "a".repeat(250))), "too_long");
}

#[test]
fn order_may_name_the_order_that_it_replaces() {
    let id = "0198f1c2-7c00-7000-8000-00000000000a";
    let Ok(priced) = order(&changed("/replaces", json!(id)), &catalogue()) else { panic!("it is valid") };
    assert_eq!(priced.request.replaces.map(|id| id.to_string()).as_deref(), Some(id));
    assert_eq!(mistakes(&changed("/replaces", Value::Null)), []);
    for wrong in [json!("x"), json!(1), json!(id.to_uppercase()), json!(id.replace('-', ""))] {
        fails("/replaces", wrong, "not_replaceable");
    }
}

#[test]
fn quantities_and_lists_have_bounds() {
    for quantity in [json!(0), json!(-1), json!(100), json!(1_000_000_000), json!(u64::MAX)] {
        fails("/items/0/quantity", quantity, "out_of_range");
    }
    fails("/items", json!([]), "wrong_count");
    let many = json!((0..51).map(|_| json!({"sku": "MUG", "quantity": 1})).collect::<Vec<_>>());
    assert_eq!(mistakes(&changed("/items", many)).first(), Some(&("#/items".to_owned(), "wrong_count")));
    let Err(refused) = order(&changed("/items/0/quantity", json!(0)), &catalogue()) else { panic!("0 is refused") };
    assert_eq!(refused[0].detail, "Must be 1 to 99; got 0.");
}

#[test]
fn malformed_email_country_and_method_are_refused() {
    for email in
        ["ada", "ada@", "@example.com", "ada@localhost", "Ada <ada@example.com>", "ada@[192.0.2.1]", "a b@c.de"]
    {
        fails("/customer/email", json!(email), "invalid_email");
    }
    for email in ["\"a b\"@example.org", "zoë@example.org"] {
        fails("/customer/email", json!(email), "unmailable_email");
    }
    assert_eq!(mistakes(&changed("/customer/email", json!("ada@müller.example"))), []);
    for country in [json!("de"), json!("XX"), json!("DEU"), json!(""), json!(49)] {
        fails("/shipping_address/country", country, "invalid_country");
    }
    for method in [json!("card_visa"), json!("pm_"), json!("pm_a-b"), json!(format!("pm_{}", "a".repeat(65))), json!(1)]
    {
        fails("/payment/method", method, "invalid_method");
    }
}

#[test]
fn card_number_is_refused_in_every_field_and_never_quoted() {
    for (pointer, value) in [
        ("/payment/method", json!("4242 4242 4242 4242")),
        ("/payment/method", json!("pm_4242424242424242")),
        ("/shipping_address/line2", json!("card 4242-4242-4242-4242")),
        ("/shipping_address/line2", json!("4111.1111.1111.1111")),
        ("/shipping_address/phone", json!("4111 1111 1111 1111")),
        ("/customer/name", json!("４１１１１１１１１１１１１１１１")),
        ("/items/0/quantity", json!(4_242_424_242_424_242_u64)),
        ("/customer/card", json!("4242424242424242")),
    ] {
        fails(pointer, value, "card_number_refused");
    }
    let body = changed("/4242424242424242", json!({"4242424242424242": 4_242_424_242_424_242_u64}));
    let Err(refused) = order(&body, &catalogue()) else { panic!("it is refused") };
    assert!(refused.iter().all(|error| !error.pointer.contains("4242") && !error.detail.contains("4242")));
}

/// A SKU, which must be in the catalogue, a phone number and an address may legitimately contain long numbers.
#[test]
fn long_numbers_that_are_not_card_numbers_are_accepted() {
    fails("/items/0/sku", json!("4242424242424242"), "unknown_sku");
    for (pointer, value) in [
        ("/items/0/sku", json!("5449000000996")),
        ("/shipping_address/line2", json!("c/o Kim, tel. 0049 30 12345 03")),
        ("/shipping_address/phone", json!("378282246310005")),
    ] {
        assert_eq!(mistakes(&changed(pointer, value)), [], "{pointer}");
    }
}

#[test]
fn addresses_follow_the_rules_of_their_country() {
    let address = |country: &str, code: Option<&str>| {
        let mut body = changed("/shipping_address/country", json!(country));
        body["shipping_address"]["postal_code"] = json!(code);
        let code = |(pointer, code): (String, &'static str)| {
            assert!(pointer.starts_with("#/shipping_address/"), "{pointer}");
            code
        };
        mistakes(&body).into_iter().map(code).collect::<Vec<_>>()
    };
    for (country, code) in [
        ("HK", None),
        ("QA", None),
        ("AE", None),
        ("QA", Some("00000")),
        ("IE", None),
        ("IE", Some("D02 X285")),
        ("GB", Some("sw1y4jh")),
        ("US", Some("22162-1010")),
        ("JP", Some("１５４－００２３")),
    ] {
        assert!(address(country, code).is_empty(), "{country} {code:?}");
    }
    for (country, code, mistake) in [
        ("DE", None, "required"),
        ("US", None, "required"),
        ("DE", Some("1011"), "invalid_postal_code"),
        ("IE", Some("D02"), "invalid_postal_code"),
        ("DE", Some("\u{200b}"), "invisible_character"),
        ("DE", Some("123456789012345678901"), "too_long"),
        // Without a valid country it is unknown whether a code is missing.
        ("XX", None, "invalid_country"),
    ] {
        assert_eq!(address(country, code), [mistake], "{country} {code:?}");
    }
    let Err(errors) = order(&changed("/shipping_address/postal_code", json!("1011")), &catalogue()) else {
        panic!("German postal codes have five digits")
    };
    assert_eq!(errors[0].detail, "Must be a postal code of DE, such as 26133.");

    for phone in [json!("+49 30 1234567"), Value::Null] {
        assert_eq!(mistakes(&changed("/shipping_address/phone", phone)), []);
    }
    for phone in [json!("none"), json!("-")] {
        fails("/shipping_address/phone", phone, "invalid_phone");
    }
}

/// Forms send `""` for fields left empty. Hong Kong has no postal codes, so its customers leave the field empty.
#[test]
fn empty_optional_field_counts_as_absent() {
    let mut body = good();
    for (name, empty) in [("line2", ""), ("state", " "), ("phone", ""), ("postal_code", "")] {
        body["shipping_address"][name] = json!(empty);
    }
    assert_eq!(mistakes(&body), [("#/shipping_address/postal_code".to_owned(), "blank")]);
    body["shipping_address"]["country"] = json!("HK");
    let Ok(Priced { request, .. }) = order(&body, &catalogue()) else { panic!("nothing is missing") };
    let address = request.shipping_address;
    assert_eq!([address.line2, address.state, address.phone, address.postal_code], [None, None, None, None]);
}

#[test]
fn stored_fields_are_normalized() {
    let mut body = good();
    body["customer"]["name"] = json!(" Zoe\u{308}\u{a0} Müller ");
    body["shipping_address"]["postal_code"] = json!(" １０１１５ ");
    body["shipping_address"]["phone"] = json!("\u{202a}+49 30 1234567\u{202c}");
    body["shipping_address"]["state"] = json!("Berlin");
    let Ok(Priced { request, .. }) = order(&body, &catalogue()) else { panic!("it is valid") };
    assert_eq!(request.customer.name, "Zoë Müller");
    assert_eq!(request.shipping_address.postal_code.as_deref(), Some("10115"));
    assert_eq!(request.shipping_address.phone.as_deref(), Some("+49 30 1234567"));
    assert_eq!(request.shipping_address.state.as_deref(), Some("Berlin"));
}

#[test]
fn products_that_the_catalogue_cannot_supply_are_refused() {
    fails("/items/0/sku", json!("NOPE"), "unknown_sku");
    fails("/items/0/sku", json!("LAMP"), "out_of_stock");
    fails("/items/1/quantity", json!(4), "out_of_stock");
    fails("/items/1/sku", json!("FOREIGN"), "mixed_currencies");
    fails("/items/1/sku", json!("MUG"), "duplicate_sku");
    assert_eq!(mistakes(&changed("/items/0/sku", json!("DEAR"))), [("#/items".to_owned(), "total_too_large")]);
}

#[test]
fn all_errors_are_reported_together() {
    let body = json!({
        "customer": {"name": "", "email": "x"},
        "items": [{"sku": "NOPE", "quantity": 0}, {"sku": "LAMP"}, {"sku": "TEA", "quantity": 4}],
        "payment": {"method": "x"}, "extra": 1,
    });
    let mut found = mistakes(&body);
    found.sort();
    let expected = [
        ("#/customer/email", "invalid_email"),
        ("#/customer/name", "blank"),
        ("#/extra", "unknown_field"),
        ("#/items/0/quantity", "out_of_range"),
        ("#/items/0/sku", "unknown_sku"),
        ("#/items/1/quantity", "required"),
        ("#/items/1/sku", "out_of_stock"),
        ("#/items/2/quantity", "out_of_stock"),
        ("#/payment/method", "invalid_method"),
        ("#/shipping_address", "required"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code)));
}

/// The minimum is checked only for an otherwise valid order: a total without the invalid items would never be charged.
#[test]
fn total_must_be_chargeable_by_the_provider() {
    let sold_by = |provider| catalogue().charged_by(provider);
    let body = changed("/items", json!([{ "sku": "CHEAP", "quantity": 1 }]));
    let found = |body: &Value, provider| match order(body, &sold_by(provider)) {
        Ok(priced) => Ok(priced.total),
        Err(errors) => Err((errors[0].code, errors[0].detail.clone())),
    };
    let detail = "Costs less than can be charged: the minimum is 0.50 EUR.";
    assert_eq!(found(&body, PaymentKind::Stripe), Err(("total_too_small", detail.into())));
    assert_eq!(found(&body, PaymentKind::Simulated), Ok(10), "the minimum is Stripe's own");
    let free = changed("/items", json!([{ "sku": "FREE", "quantity": 99 }]));
    assert_eq!(found(&free, PaymentKind::Stripe), Ok(0), "a total of 0 needs no charge");
    let unknown = changed("/items", json!([{ "sku": "CHEAP", "quantity": 1 }, { "sku": "NOPE", "quantity": 1 }]));
    assert!(matches!(found(&unknown, PaymentKind::Stripe), Err(("unknown_sku", ..))));
}
