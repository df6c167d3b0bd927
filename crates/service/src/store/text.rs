//! What strangers sent, so that PostgreSQL takes it: neither its text nor its jsonb has a zero byte.

use serde_json::Value;

/// What stands where a zero byte was.
const REPLACEMENT: &str = "\u{fffd}";

/// The text without zero bytes.
#[must_use]
pub fn storable(text: &str) -> String {
    text.replace('\0', REPLACEMENT)
}

/// The same JSON with no zero byte in its texts and names.
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
