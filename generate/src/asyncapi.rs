//! The events for programs in any language: a JSON Schema for each type, and an `AsyncAPI` document of channels and
//! operations.

use std::{fs, path::Path};

use orderflow_events::{CONTENT_TYPE, EventKind, schema};
use orderflow_service::{
    broker::{headers, names},
    config::{RetryDelays, Source},
};
use serde_json::{Map, Value, json};

use crate::{Generated, error::GenerateError};

/// The document's own version: of its structure and names, not of the programs.
const VERSION: &str = "1.0.0";

const INTRODUCTION: &str = "For services that consume the events of orders. Register a service with `orderflow service register`; \
    `orderflow topology apply` creates its queues, and the service declares nothing itself. Delivery is at least once, in no \
    particular order: recognise repetitions by `id`. Register a service that acts on events with `--tracks inbox`: before it acts, it \
    must find the event in the shop's event log, through messaging.claim, and use the log's data. A service with `--tracks none` \
    cannot query the log, and must only observe. docs/EVENTS.md has the rules.";

/// Returns the document and the schemas that it refers to.
///
/// # Errors
/// Fails if a sample cannot be read.
pub fn files(root: &Path) -> Result<Vec<Generated>, GenerateError> {
    let mut files: Vec<_> = EventKind::ALL
        .iter()
        .map(|kind| Ok(Generated { path: schema_path(*kind), text: pretty(&schema::of_event(*kind))? }))
        .collect::<Result<_, GenerateError>>()?;
    let document = yaml_serde::to_string(&document(root)?).map_err(|error| GenerateError::Form(error.to_string()))?;
    let text = format!("# Written by `make generate` from the types of crates/events; not by hand.\n{document}");
    files.push(Generated { path: "docs/asyncapi.yaml".to_owned(), text });
    Ok(files)
}

fn schema_path(kind: EventKind) -> String {
    format!("docs/events/{}.schema.json", kind.cloud_type())
}

fn pretty(value: &Value) -> Result<String, GenerateError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| GenerateError::Form(error.to_string()))?;
    Ok(text + "\n")
}

fn document(root: &Path) -> Result<Value, GenerateError> {
    let (mut channels, mut messages, mut operations) = (Map::new(), Map::new(), Map::new());
    for kind in EventKind::ALL {
        let name = kind.routing_key().to_owned();
        channels.insert(name.clone(), published(*kind));
        messages.insert(name, message(root, *kind)?);
    }
    messages.insert("copy".to_owned(), copy());
    channels.insert("work-queue".to_owned(), work_queue());
    operations.insert(
        "take".to_owned(),
        operation("receive", "work-queue", "Consume the events of one type from the service's own queue."),
    );
    let source = Source::default();
    let delays = RetryDelays::read(&source);
    for delay in delays.iter().flat_map(|delays| delays.as_slice()) {
        let name = names::retry(*delay);
        operations.insert(
            format!("try-again-{name}"),
            operation("send", &name, "Retry later: a copy returns to the queue that its routing key names."),
        );
        channels.insert(name.clone(), copies(&name, "fanout"));
    }
    let dead = "Give up: a copy goes to the dead-letter queue of the queue that its routing key names.";
    operations.insert("give-up".to_owned(), operation("send", names::DEAD_LETTERS, dead));
    channels.insert(names::DEAD_LETTERS.to_owned(), copies(names::DEAD_LETTERS, "direct"));
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": { "title": "Orderflow: the events of orders", "version": VERSION, "description": INTRODUCTION },
        "defaultContentType": CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    }))
}

/// Returns the channel to which events of a type are published.
fn published(kind: EventKind) -> Value {
    let name = kind.routing_key();
    json!({
        "address": name,
        "messages": { name: { "$ref": format!("#/components/messages/{name}") } },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": names::EVENTS, "type": "topic", "durable": true, "autoDelete": false },
            "bindingVersion": "0.3.0",
        } },
    })
}

fn of_every_kind() -> Map<String, Value> {
    let one = |kind: &EventKind| {
        let name = kind.routing_key();
        (name.to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }))
    };
    EventKind::ALL.iter().map(one).collect()
}

fn work_queue() -> Value {
    json!({
        "address": "{service}.{event}",
        "description": "The queue of one service for one event type: fraud-check.order-created.",
        "parameters": {
            "service": { "description": "The service's name." },
            "event": { "description": "The event's name, with a hyphen instead of the dot." },
        },
        "messages": of_every_kind(),
        "bindings": { "amqp": {
            "is": "queue", "queue": { "durable": true, "exclusive": false, "autoDelete": false }, "bindingVersion": "0.3.0",
        } },
    })
}

/// Returns the channel of an exchange for copies of messages that could not be handled.
fn copies(exchange: &str, kind: &str) -> Value {
    json!({
        "address": "{queue}",
        "description": "Copies of messages that could not be handled, confirmed by the broker before the original is acknowledged.",
        "parameters": { "queue": { "description": "The queue that the message came from." } },
        "messages": { "copy": { "$ref": "#/components/messages/copy" } },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": exchange, "type": kind, "durable": true, "autoDelete": false },
            "bindingVersion": "0.3.0",
        } },
    })
}

/// Returns the message type of such a copy, whose headers describe the failure.
fn copy() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "name": "copy",
        "title": "A copy of a message that could not be handled",
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "required": [headers::ATTEMPT, headers::REASON, headers::QUEUE, headers::WORKER, headers::FAILED_AT],
            "properties": {
                headers::ATTEMPT: {
                    "type": "integer", "minimum": 1,
                    "description": "On a retry exchange: the number of the next attempt. On orders.dlx: the number of the last failed attempt.",
                },
                headers::REASON: text("Why it failed, in readable form. No personal data."),
                headers::QUEUE: text("The queue that it came from."),
                headers::WORKER: text("The process in which it failed: its program, host and process id."),
                headers::FAILED_AT: { "type": "string", "format": "date-time", "description": "When it failed." },
            },
        },
        "payload": { "type": "object", "description": "The body, unchanged." },
    })
}

fn operation(action: &str, channel: &str, summary: &str) -> Value {
    json!({ "action": action, "channel": { "$ref": format!("#/channels/{channel}") }, "summary": summary })
}

fn message(root: &Path, kind: EventKind) -> Result<Value, GenerateError> {
    let path = format!("docs/events/{}.json", kind.cloud_type());
    let text = fs::read(root.join(&path)).map_err(|source| GenerateError::File { path, source })?;
    let sample: Value = serde_json::from_slice(&text).map_err(|error| GenerateError::Form(error.to_string()))?;
    Ok(json!({
        "name": kind.cloud_type(),
        "title": kind.routing_key(),
        "contentType": CONTENT_TYPE,
        "correlationId": { "location": "$message.payload#/correlationid" },
        "payload": { "$ref": format!("./events/{}.schema.json", kind.cloud_type()) },
        "examples": [{ "name": "sample", "payload": sample }],
    }))
}
