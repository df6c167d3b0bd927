//! Answers to operators match `/admin/openapi.json`: the tests' client compares each answer with it.

use std::{collections::HashMap, sync::LazyLock};

use chrono::DateTime;
use orderflow_tests::Answer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// The document as it is compiled into the program.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/web/ops/openapi.json")).expect("JSON"));

/// Asserts that the document describes the answer's status, its media type and all its fields.
pub fn assert_described(method: &Method, path: &str, answer: &Answer) {
    if let Some(difference) = difference(method, path, answer) {
        panic!("{method} {path} differs from /admin/openapi.json: {difference}: {answer:?}");
    }
}

/// Returns how an answer differs from the document. The document describes only paths and methods that exist.
fn difference(method: &Method, path: &str, answer: &Answer) -> Option<String> {
    let operation = operations(path)?.get(method.as_str().to_lowercase())?;
    if answer.body["type"] == "/problems/not-found" {
        return None;
    }
    let response = resolved(&operation["responses"][answer.status.as_str()]);
    let media_type = answer.headers.get("content-type").map_or("", String::as_str);
    let Some(content) = response["content"].get(media_type) else {
        return Some(format!("it does not describe {} with {media_type:?}", answer.status));
    };
    from_schema(&content["schema"], &answer.body, "#")
}

/// Returns the operations at this path.
fn operations(path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('?').next()?.split('/').collect();
    let fits = |described: &str| {
        let described: Vec<&str> = described.split('/').collect();
        described.len() == parts.len()
            && described.iter().zip(&parts).all(|(one, part)| one == part || one.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object()?;
    paths.iter().find_map(|(described, operations)| fits(described).then_some(operations))
}

fn resolved(part: &Value) -> &Value {
    match part["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).expect("references lead somewhere"),
        None => part,
    }
}

/// Returns the first difference between a value and its schema. Each field must be described, and without `required`
/// each described field must be there.
fn from_schema(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolved(schema);
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return Some(format!("{at} is not one of the described values"));
    }
    if !has_type(&schema["type"], value) || !has_format(&schema["format"], value) {
        return Some(format!("{at} has another type or format"));
    }
    if let (Some(described), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_none_or(|names| names.iter().any(|one| one == name));
        if let Some(missing) = described.keys().find(|name| is_required(name) && !fields.contains_key(name.as_str())) {
            return Some(format!("{at}/{missing} is missing"));
        }
        return fields.iter().find_map(|(name, field)| match described.get(name) {
            Some(schema) => from_schema(schema, field, &format!("{at}/{name}")),
            None => Some(format!("{at}/{name} is not described")),
        });
    }
    value.as_array()?.iter().find_map(|element| from_schema(&schema["items"], element, &format!("{at}/*")))
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match wanted {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

/// Returns whether a text has the format. Other values have none.
fn has_format(wanted: &Value, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return true };
    match wanted.as_str() {
        Some("uuid") => text.parse::<Uuid>().is_ok(),
        Some("date-time") => DateTime::parse_from_rfc3339(text).is_ok(),
        _ => true,
    }
}

#[test]
fn answer_that_differs_from_the_document_is_found() {
    let answered = |status: StatusCode, product: Value| {
        let headers = HashMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        let answer = Answer { status, headers, body: json!({ "items": [product], "next_cursor": null }) };
        difference(&Method::GET, "/admin/products?limit=1", &answer)
    };
    let product = json!({ "sku": "MUG-BLUE", "name": "Mug", "available": 1 });
    assert_eq!(answered(StatusCode::OK, product.clone()), None);
    assert!(answered(StatusCode::ACCEPTED, product).is_some_and(|how| how.contains("202")));
    for (product, says) in [
        (json!({ "sku": "MUG-BLUE", "name": "Mug" }), "#/items/*/available is missing"),
        (json!({ "sku": "MUG-BLUE", "name": "Mug", "available": "1" }), "#/items/*/available has another type"),
        (json!({ "sku": "MUG-BLUE", "name": "Mug", "available": 1, "price": 2 }), "#/items/*/price is not described"),
    ] {
        let how = answered(StatusCode::OK, product).expect("it differs");
        assert!(how.starts_with(says), "{how}");
    }
}
