//! Finds what looks like a card number, wherever in a body someone put it.
//!
//! Whoever stores or logs a card number falls under PCI DSS; we refuse it and never repeat it.

use serde_json::Value;

use super::fields::{ErrorCode, Errors, child, element};

/// Card numbers have 13 to 19 digits (ISO/IEC 7812).
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Records an error for every text, number and field name in `value` that looks like a card number.
pub fn refuse(value: &Value, pointer: &str, errors: &mut Errors) {
    match value {
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

fn refuse_text(text: &str, pointer: &str, errors: &mut Errors) {
    if looks_like_one(text) {
        errors.add(
            pointer,
            ErrorCode::CardNumberRefused,
            "This looks like a card number. Card numbers are not taken here: name a payment method such as pm_card_visa.",
        );
    }
}

/// Whether `text` holds 13 to 19 digits in a row, ignoring spaces and dashes, whose check digit is right.
#[must_use]
pub fn looks_like_one(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || c == ' ' || c == '-';
    text.split(|c| !is_part(c)).any(|run| {
        let groups: Vec<&str> = run.split([' ', '-']).filter(|group| !group.is_empty()).collect();
        let mut rest = groups.as_slice();
        // Other numbers may stand before and after it, so every range of whole groups is tried.
        while let [_, tail @ ..] = rest {
            if starts_with_one(rest) {
                return true;
            }
            rest = tail;
        }
        false
    })
}

fn starts_with_one(groups: &[&str]) -> bool {
    let mut digits = String::new();
    for group in groups {
        digits.push_str(group);
        if digits.len() > *DIGITS.end() {
            return false;
        }
        if DIGITS.contains(&digits.len()) && luhn(&digits) {
            return true;
        }
    }
    false
}

/// The check digit of ISO/IEC 7812-1: from the right, every second digit counts double.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, digit)| if place.is_multiple_of(2) { digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::looks_like_one;

    #[test]
    fn card_numbers_are_seen_however_they_are_written() {
        for text in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "pm_4242424242424242",
            "my card is 4242 4242 4242 4242, thanks",
            "12 4242424242424242",
            "4242424242424242 123",
            "378282246310005",
            "6304000000000000000",
        ] {
            assert!(looks_like_one(text), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_let_pass() {
        for text in ["4242424242424241", "+49 30 1234567", "10115", "pm_card_visa", "", "- -", "123456789012"] {
            assert!(!looks_like_one(text), "{text}");
        }
    }
}
