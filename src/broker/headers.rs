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

/// On a message that is to be handled alone: how often it came back from that before.
pub const ALONE: &str = "x-orderflow-alone";

const OURS: &str = "x-orderflow-";
/// RabbitMQ adds `x-acquired-count` from 4.3 on, and `x-last-death-` from 3.13 on.
const OF_THE_BROKER: [&str; 3] = ["x-death", "x-delivery-count", "x-acquired-count"];
/// `x-opt-` is what it calls the annotations of AMQP 1.0, its own among them, on messages that it hands to our protocol.
const OF_THE_BROKER_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "x-opt-"];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// All that RabbitMQ 3.10.8, 4.0.5 and 4.3.6 were seen to add to a message that was given back, rejected and dead-lettered.
    #[test]
    fn a_copy_has_none_of_the_brokers_headers_of_any_version() {
        let added = [
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "x-delivery-count",
            "x-acquired-count",
            "x-opt-annotation",
        ];
        let mut table = FieldTable::default();
        for name in added.iter().chain(&[ATTEMPT, "x-shop"]) {
            table.insert((*name).into(), AMQPValue::LongUInt(1));
        }
        let names = |table: &FieldTable| table.inner().keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&without_the_brokers(&table)), [ATTEMPT, "x-shop"]);
        assert_eq!(names(&before_any_failure(&table)), ["x-shop"]);
    }
}
