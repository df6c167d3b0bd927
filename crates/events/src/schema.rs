//! The JSON Schema of each kind's envelope, generated from the types that decode it.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    Envelope, EventKind, InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelRequested, OrderCancelled,
    OrderCreated, PaymentCompleted, PaymentFailed, PaymentRefunded, PaymentVoided, ShipmentCancelled, ShipmentCreated,
    ShipmentFailed,
};

/// Returns the schema of a whole event of this kind, in JSON Schema draft 7, which `AsyncAPI` accepts for payloads.
///
/// It allows additional fields, since adding a field does not need a new version.
#[must_use]
pub fn of_event(kind: EventKind) -> Value {
    let mut schema = match kind {
        EventKind::OrderCreated => of::<OrderCreated>(),
        EventKind::PaymentCompleted => of::<PaymentCompleted>(),
        EventKind::PaymentFailed => of::<PaymentFailed>(),
        EventKind::InventoryReserved => of::<InventoryReserved>(),
        EventKind::InventoryRejected => of::<InventoryRejected>(),
        EventKind::ShipmentCreated => of::<ShipmentCreated>(),
        EventKind::ShipmentFailed => of::<ShipmentFailed>(),
        EventKind::OrderCancelRequested => of::<OrderCancelRequested>(),
        EventKind::ShipmentCancelled => of::<ShipmentCancelled>(),
        EventKind::InventoryReleased => of::<InventoryReleased>(),
        EventKind::PaymentRefunded => of::<PaymentRefunded>(),
        EventKind::PaymentVoided => of::<PaymentVoided>(),
        EventKind::OrderCancelled => of::<OrderCancelled>(),
    };
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!(kind.routing_key()));
    }
    if let Some(cloud_type) = schema.pointer_mut("/properties/type") {
        *cloud_type = json!({ "description": "The kind and its version.", "const": kind.cloud_type() });
    }
    schema
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Envelope<T>>().to_value()
}
