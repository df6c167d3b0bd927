//! Refuses anything that looks like a card number, anywhere in an order.
//!
//! Storing or logging a card number would bring a shop under PCI DSS, so it is refused, and never quoted in an answer.

use serde_json::Value;

use super::fields::{ErrorCode, Errors, child, element};
use crate::domain::looks_like_card_number;

/// Records an error for every text, number and field name of an order that looks like a card number.
///
/// It skips fields that legitimately hold long numbers and cannot hold a card number: a SKU, which must be in the
/// catalogue (5449000000996 is an EAN), a phone number, which has its own form, and the id of the replaced order.
pub fn refuse(value: &Value, pointer: &str, errors: &mut Errors) {
    match value {
        Value::String(_) if is_exempt(pointer) => {}
        Value::String(text) => refuse_text(text, pointer, errors),
        Value::Number(number) => refuse_text(&number.to_string(), pointer, errors),
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                refuse(value, &element(pointer, index), errors);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let field = child(pointer, name);
                refuse_text(name, &field, errors);
                refuse(value, &field, errors);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn is_exempt(pointer: &str) -> bool {
    let is_sku = pointer.strip_prefix("#/items/").is_some_and(|rest| rest.ends_with("/sku"));
    is_sku || matches!(pointer, "#/shipping_address/phone" | "#/replaces")
}

fn refuse_text(text: &str, pointer: &str, errors: &mut Errors) {
    if looks_like_card_number(text) {
        errors.add(pointer, ErrorCode::CardNumberRefused, REFUSED);
    }
}

/// The message for a refused card number.
pub const REFUSED: &str =
    "This looks like a card number. Card numbers are not accepted here: name a payment method such as pm_card_visa.";
