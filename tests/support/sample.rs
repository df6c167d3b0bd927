//! The documented example of each event type.

use std::fs;

use orderflow_events::EventName;
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns the documented example of this event type, with this event id and order id.
///
/// # Panics
/// Panics if it is not documented.
#[must_use]
pub fn sample(kind: EventName, event: Uuid, order: Uuid) -> Value {
    let path = format!("{}/../docs/events/{}.json", env!("CARGO_MANIFEST_DIR"), kind.cloud_type());
    let documented = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut sample: Value = serde_json::from_slice(&documented).expect("JSON");
    sample["id"] = json!(event);
    sample["subject"] = json!(order);
    sample
}
