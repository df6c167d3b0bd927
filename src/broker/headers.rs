//! Headers on retries and dead letters: ours, and those that RabbitMQ adds when it moves a message.

use lapin::types::{AMQPValue, FieldTable};

/// Which attempt a message is, from 1; on a dead letter, the one that failed last.
pub const ATTEMPT: &str = "x-orderflow-attempt";
/// Why the attempt before failed.
pub const REASON: &str = "x-orderflow-reason";
/// The work queue that the message belongs to.
pub const QUEUE: &str = "x-orderflow-queue";
/// The process in which it failed.
pub const WORKER: &str = "x-orderflow-worker";
/// When it failed.
pub const FAILED_AT: &str = "x-orderflow-failed-at";

const OURS: &str = "x-orderflow-";
const OF_THE_BROKER: [&str; 2] = ["x-death", "x-delivery-count"];
const OF_THE_BROKER_PREFIXES: [&str; 2] = ["x-first-death-", "x-last-death-"];

/// The headers without what RabbitMQ added when it moved the message. A copy of ours starts without: the broker would
/// otherwise count its own deaths on, and detects cycles by them.
#[must_use]
pub fn without_the_brokers(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        let text = name.as_str();
        let foreign =
            OF_THE_BROKER.contains(&text) || OF_THE_BROKER_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if !foreign {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// The headers that the message had before anything failed: it starts again at attempt 1.
#[must_use]
pub fn before_any_failure(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in without_the_brokers(headers).inner() {
        if !name.as_str().starts_with(OURS) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// A header that is text.
#[must_use]
pub fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A header that is a number, 0 or more. Other clients and the management UI write numbers as they like.
#[must_use]
pub fn number(headers: &FieldTable, name: &str) -> Option<u32> {
    match headers.inner().get(name)? {
        AMQPValue::LongUInt(number) => Some(*number),
        AMQPValue::LongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        _ => None,
    }
}
