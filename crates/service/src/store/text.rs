//! Makes text from outside storable: PostgreSQL accepts no zero byte in text or jsonb.

use serde_json::Value;

/// Replaces each zero byte.
const REPLACEMENT: &str = "\u{fffd}";

/// Returns the text with zero bytes replaced.
#[must_use]
pub fn storable(text: &str) -> String {
    text.replace('\0', REPLACEMENT)
}

/// Returns the same JSON with zero bytes replaced in its texts and names.
#[must_use]
pub fn storable_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(text)),
        Value::Array(elements) => elements.iter().map(storable_json).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (storable(name), storable_json(value))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zero_bytes_are_replaced_wherever_they_are() {
        let sent = json!({ "a\0": ["\0", { "b": "c\0d" }, 1, null, true], "e": "f" });
        let stored = json!({ "a\u{fffd}": ["\u{fffd}", { "b": "c\u{fffd}d" }, 1, null, true], "e": "f" });
        assert_eq!(storable_json(&sent), stored);
    }
}
