//! Distinguishes a repeated request from a different one under the same `Idempotency-Key`.
//!
//! The fingerprint covers the request as sent, before validation and normalisation. The rules of an order change from
//! version to version, but a request that an older version accepted keeps its fingerprint. So a repetition still gets
//! the stored answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::store::idempotency::Fingerprint;

/// Returns the SHA-256 of an order as sent, regardless of white space, the order of fields and explicit nulls.
///
/// Returns `None` for a body that does not have an order's fields with their JSON types. No version ever accepted such
/// a body, so it cannot be a repetition.
#[must_use]
pub fn of(body: &Value) -> Option<Fingerprint> {
    let order = Order::deserialize(body).ok()?;
    Some(Sha256::digest(serde_json::to_vec(&order).ok()?).into())
}

/// The fields in the order in which version 0.1 hashed them. During an upgrade, old and new programs compare each
/// other's fingerprints, so fields added later are skipped when absent. Only `line2` is hashed as null, as version 0.1
/// did.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order<'a> {
    #[serde(borrow)]
    customer: Customer<'a>,
    shipping_address: Address<'a>,
    items: Vec<Item<'a>>,
    payment: Payment<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_total: Option<i64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Customer<'a> {
    name: &'a str,
    email: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Address<'a> {
    line1: &'a str,
    line2: Option<&'a str>,
    city: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    country: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    sku: &'a str,
    quantity: i64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Payment<'a> {
    method: &'a str,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    fn order() -> Value {
        json!({
            "customer": { "name": "Ada", "email": "ada@example.com" },
            "shipping_address": { "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE" },
            "items": [{ "sku": "MUG", "quantity": 2 }],
            "payment": { "method": "pm_card_visa" },
        })
    }

    fn hex_of(body: &Value) -> String {
        hex::encode(of(body).expect("it is an order"))
    }

    /// The values are from version 0.1 (commit f83856a). If this fails, a request repeated across the upgrade is
    /// refused as a reused key, and its customer orders twice.
    #[test]
    fn orders_of_version_0_1_keep_their_fingerprint() {
        assert_eq!(hex_of(&order()), "bf1669e9535503e6db1084c59eb60496d406a3bf020d8b52bd3befccea372cf5");
        let mut refused_today = order();
        refused_today["customer"] = json!({ "name": "\u{200b}", "email": "\"a b\"@example.org" });
        refused_today["shipping_address"] = json!({
            "line1": "12 St James's Square", "line2": null, "city": "London", "postal_code": "SW1Y 4JH", "country": "GB",
        });
        refused_today["items"][0]["sku"] = json!("MUG-BLUE");
        assert_eq!(hex_of(&refused_today), "54300cfe9ddd09c0ea55962d8e55385e9ec6f6367cb0f977500bf07ee48bd7d5");
        refused_today["shipping_address"]["line2"] = json!("Flat \\ 2\u{2028}\u{202e}");
        refused_today["replaces"] = json!("ffffffff-ffff-ffff-ffff-ffffffffffff");
        refused_today["items"] = json!([{ "sku": "MUG-BLUE", "quantity": 2 }, { "quantity": 99, "sku": "TEA" }]);
        assert_eq!(hex_of(&refused_today), "b95ce9891141a7ca0858270df8ba8cc315975d27a8ef657d6fe03d6256872b92");
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let mut nulls = order();
        nulls["replaces"] = Value::Null;
        for field in ["line2", "state", "phone"] {
            nulls["shipping_address"][field] = Value::Null;
        }
        assert_eq!(hex_of(&nulls), hex_of(&order()));
    }

    #[test]
    fn every_field_is_part_of_the_fingerprint() {
        let changes: [(&str, &str); 12] = [
            ("/customer", "name"),
            ("/customer", "email"),
            ("/shipping_address", "line1"),
            ("/shipping_address", "line2"),
            ("/shipping_address", "city"),
            ("/shipping_address", "postal_code"),
            ("/shipping_address", "country"),
            ("/shipping_address", "state"),
            ("/shipping_address", "phone"),
            ("/items/0", "sku"),
            ("/payment", "method"),
            ("", "replaces"),
        ];
        let mut seen = HashSet::from([hex_of(&order())]);
        for (parent, field) in changes {
            let mut changed = order();
            changed.pointer_mut(parent).expect("it is there")[field] = json!("x");
            assert!(seen.insert(hex_of(&changed)), "{parent}/{field}");
        }
        let mut more = order();
        more["items"][0]["quantity"] = json!(3);
        assert!(seen.insert(hex_of(&more)));
        more["items"] = json!([{ "sku": "MUG", "quantity": 2 }, { "sku": "MUG", "quantity": 2 }]);
        assert!(seen.insert(hex_of(&more)));
        let mut without = order();
        without["shipping_address"].as_object_mut().expect("an object").remove("postal_code");
        assert!(seen.insert(hex_of(&without)), "an order without a postal code has another fingerprint");
    }

    #[test]
    fn body_that_no_version_accepted_has_no_fingerprint() {
        for (parent, field, value) in [
            ("", "voucher", json!(1)),
            ("/items/0", "quantity", json!("2")),
            ("/items/0", "quantity", json!(1.5)),
            ("/customer", "name", Value::Null),
            ("/customer", "phone", json!("1")),
        ] {
            let mut changed = order();
            changed.pointer_mut(parent).expect("it is there")[field] = value;
            assert!(of(&changed).is_none(), "{parent}/{field}");
        }
        assert!(of(&json!([1])).is_none());
    }
}
