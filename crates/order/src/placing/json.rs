//! Parses JSON that has only one meaning.
//!
//! With duplicate keys, `serde_json` uses the last one. Other programs use the first one, so a proxy and we could read
//! different orders from the same body. The depth is bounded too, since pointers, and so answers, grow with it.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fields::{child, element};

/// The maximum nesting depth of lists and objects. An order needs three levels.
pub const DEEPEST: u8 = 16;

/// Why a body cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not valid JSON from this position on.
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
    },
    /// An object has this key twice.
    DuplicateKey {
        /// The pointer to the key, as [`child`] writes it.
        pointer: String,
    },
    /// A value is nested deeper than [`DEEPEST`].
    TooDeep {
        /// The pointer to the value.
        pointer: String,
    },
}

/// Parses a whole body.
///
/// # Errors
/// Returns the first flaw of the body: see [`Unreadable`].
pub fn parse(body: &[u8]) -> Result<Value, Unreadable> {
    // serde's errors carry only text, so the flaw itself is passed separately.
    let flaw = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Node { place: &Place::Top, depth: 0, flaw: &flaw }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let malformed = Unreadable::Malformed { line: error.line(), column: error.column() };
        flaw.take().unwrap_or(malformed)
    })
}

/// The location of a value. It is turned into a pointer only when one is needed.
enum Place<'a> {
    Top,
    Field(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Top => "#".to_owned(),
            Self::Field(parent, name) => child(&parent.pointer(), name),
            Self::Element(parent, index) => element(&parent.pointer(), *index),
        }
    }
}

/// A value that is about to be read.
#[derive(Clone, Copy)]
struct Node<'a> {
    place: &'a Place<'a>,
    depth: u8,
    flaw: &'a RefCell<Option<Unreadable>>,
}

impl<'a> Node<'a> {
    /// Descends one level and returns its depth.
    fn enter<E: serde::de::Error>(self) -> Result<u8, E> {
        if self.depth < DEEPEST {
            return Ok(self.depth + 1);
        }
        Err(self.fail(Unreadable::TooDeep { pointer: self.place.pointer() }))
    }

    fn fail<E: serde::de::Error>(self, flaw: Unreadable) -> E {
        self.flaw.replace(Some(flaw));
        E::custom("see the flaw")
    }

    const fn below<'b>(self, place: &'b Place<'b>, depth: u8) -> Node<'b>
    where
        'a: 'b,
    {
        Node { place, depth, flaw: self.flaw }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let depth = self.enter::<A::Error>()?;
        let mut elements = Vec::new();
        while let Some(value) =
            sequence.next_element_seed(self.below(&Place::Element(self.place, elements.len()), depth))?
        {
            elements.push(value);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.enter::<A::Error>()?;
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let place = Place::Field(self.place, &name);
            if fields.contains_key(&name) {
                return Err(self.fail(Unreadable::DuplicateKey { pointer: place.pointer() }));
            }
            let value = map.next_value_seed(self.below(&place, depth))?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn twice(pointer: &str) -> Result<Value, Unreadable> {
        Err(Unreadable::DuplicateKey { pointer: pointer.to_owned() })
    }

    #[test]
    fn valid_json_parses_as_in_serde_json() {
        let text =
            r#" {"a": [1, -2, 3.5, 18446744073709551615, true, null, "\u00e9 \"x\""], "b": {"a": {}}, "c": 1e2} "#;
        assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).expect("JSON")));
        assert_eq!(parse(b"1"), Ok(json!(1)));
    }

    #[test]
    fn key_that_occurs_twice_is_named_wherever_it_is() {
        assert_eq!(parse(br#"{"items":[{"sku":"MUG"},{"quantity":1,"quantity":99}]}"#), twice("#/items/1/quantity"));
        assert_eq!(parse(br#"{"a":1,"b":2,"a":null}"#), twice("#/a"));
        // The same key in two spellings.
        assert_eq!(parse(br#"{"method":"4242","m\u0065thod":"pm_card_visa"}"#), twice("#/method"));
        assert_eq!(parse(br#"{"x":{"y":{"4242424242424242":1,"4242424242424242":2}}}"#), twice("#/x/y/%E2%80%A6"));
        // Equal keys in different objects do not conflict.
        assert!(parse(br#"[{"a":{"a":1}},{"a":1}]"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(16).as_bytes()).is_ok());
        let pointer = format!("#{}", "/0".repeat(16));
        assert_eq!(parse(nested(17).as_bytes()), Err(Unreadable::TooDeep { pointer }));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(60_000), "}".repeat(60_000));
        assert!(matches!(parse(objects.as_bytes()), Err(Unreadable::TooDeep { .. })));
    }

    #[test]
    fn position_of_invalid_json_is_reported() {
        assert_eq!(parse(b"{\n\"a\": x}"), Err(Unreadable::Malformed { line: 2, column: 6 }));
        for text in ["", "{", "{} {}", "{'a':1}", "[1,]", "1e999", "\"\u{1}\""] {
            assert!(matches!(parse(text.as_bytes()), Err(Unreadable::Malformed { .. })), "{text}");
        }
        assert!(matches!(parse(b"\"\xff\""), Err(Unreadable::Malformed { .. })));
    }
}
