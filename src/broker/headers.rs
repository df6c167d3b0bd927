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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        let known =
            [ATTEMPT, REASON, QUEUE, "x-death", "x-delivery-count", "x-first-death-queue", "x-last-death-reason"];
        prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[ -~]{0,40}"]
    }

    fn value() -> impl Strategy<Value = AMQPValue> {
        prop_oneof![
            any::<u8>().prop_map(AMQPValue::ShortShortUInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i32>().prop_map(AMQPValue::LongInt),
            any::<u32>().prop_map(AMQPValue::LongUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<f64>().prop_map(AMQPValue::Double),
            vec(any::<u8>(), 0..64).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            Just(AMQPValue::Void),
        ]
    }

    /// Headers as anybody can send them.
    fn headers() -> impl Strategy<Value = FieldTable> {
        vec((name(), value()), 0..12).prop_map(|all| {
            let mut table = FieldTable::default();
            for (name, value) in all {
                table.insert(name.into(), value);
            }
            table
        })
    }

    proptest! {
        #[test]
        fn whatever_headers_say_the_brokers_go_and_others_stay(headers in headers()) {
            let kept = without_the_brokers(&headers);
            prop_assert_eq!(&without_the_brokers(&kept), &kept);
            for (name, value) in headers.inner() {
                let text = name.as_str();
                let is_the_brokers = ["x-death", "x-delivery-count"].contains(&text)
                    || text.starts_with("x-first-death-")
                    || text.starts_with("x-last-death-");
                let expected = (!is_the_brokers).then_some(value);
                prop_assert_eq!(kept.inner().get(text), expected);
            }
            prop_assert!(before_any_failure(&headers).inner().keys().all(|name| !name.as_str().starts_with(OURS)));
        }

        #[test]
        fn a_number_is_what_was_sent_or_nothing(value in value()) {
            let mut headers = FieldTable::default();
            headers.insert(ATTEMPT.into(), value.clone());
            let sent = match value {
                AMQPValue::ShortShortUInt(number) => Some(i64::from(number)),
                AMQPValue::ShortUInt(number) => Some(number.into()),
                AMQPValue::LongInt(number) => Some(number.into()),
                AMQPValue::LongUInt(number) => Some(number.into()),
                AMQPValue::LongLongInt(number) => Some(number),
                _ => None,
            };
            let expected = sent.filter(|number| (0..=i64::from(u32::MAX)).contains(number));
            prop_assert_eq!(number(&headers, ATTEMPT).map(i64::from), expected);
            drop(text(&headers, ATTEMPT));
        }
    }
}
