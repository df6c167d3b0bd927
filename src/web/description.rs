//! Shared checks for the tests of both OpenAPI documents, the customers' and the operators'.

use std::collections::BTreeSet;

use serde_json::Value;

use super::endpoint::Endpoint;

/// Parses a stored document.
pub fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Returns the strings in a list.
pub fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Asserts that the document describes exactly these routes.
#[track_caller]
pub fn describes(document: &Value, routes: &[Endpoint]) {
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let routes: BTreeSet<_> = routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, routes);
}

/// Asserts that every reference in the document resolves.
#[track_caller]
pub fn references_lead_somewhere(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
