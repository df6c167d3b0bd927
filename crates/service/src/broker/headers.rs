//! Headers on retries and dead letters: ours, and those that RabbitMQ adds when it moves a message.

use lapin::types::{AMQPValue, FieldTable};

/// The attempt of a message, from 1; on a dead letter, the last one, which failed.
pub const ATTEMPT: &str = "x-orderflow-attempt";
/// Why the previous attempt failed.
pub const REASON: &str = "x-orderflow-reason";
/// The work queue that the message belongs to.
pub const QUEUE: &str = "x-orderflow-queue";
/// The process in which it failed.
pub const WORKER: &str = "x-orderflow-worker";
/// When it failed.
pub const FAILED_AT: &str = "x-orderflow-failed-at";

/// The mark of a message that must be handled alone: how many times it was already returned from that.
pub const ALONE: &str = "x-orderflow-alone";

const OURS: &str = "x-orderflow-";
/// RabbitMQ adds `x-acquired-count` from 4.3 on, and `x-last-death-` from 3.13 on.
const OF_THE_BROKER: [&str; 3] = ["x-death", "x-delivery-count", "x-acquired-count"];
/// Headers that route a message to further queues. A copy of ours belongs to one queue.
const FURTHER_ROUTES: [&str; 2] = ["CC", "BCC"];
/// RabbitMQ gives AMQP 1.0 annotations, including its own, the prefix `x-opt-` when it delivers a message over AMQP
/// 0-9-1.
const OF_THE_BROKER_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "x-opt-"];

/// Returns the headers for a copy. Removes those that RabbitMQ added when it moved the message: with them it would
/// continue its count of deaths, or detect a cycle. Removes routes to other queues as well.
#[must_use]
pub fn for_copy(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        let text = name.as_str();
        let foreign = OF_THE_BROKER.contains(&text)
            || FURTHER_ROUTES.contains(&text)
            || OF_THE_BROKER_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if !foreign {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// Returns the headers that the message had before any failure, so that it starts again at attempt 1.
#[must_use]
pub fn before_any_failure(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in for_copy(headers).inner() {
        if !name.as_str().starts_with(OURS) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// Returns a header if it is text.
#[must_use]
pub fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Returns a header if it is a number from 0 to `u32::MAX`. Other clients and the management UI choose other integer
/// types.
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
            [ATTEMPT, REASON, QUEUE, "x-death", "x-delivery-count", "x-first-death-queue", "x-last-death-reason", "CC"];
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

    /// Headers as anyone can send them.
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
        fn copy_drops_the_headers_of_the_broker_and_further_routes_and_keeps_all_others(headers in headers()) {
            let kept = for_copy(&headers);
            prop_assert_eq!(&for_copy(&kept), &kept);
            for (name, value) in headers.inner() {
                let text = name.as_str();
                let goes = ["x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"].contains(&text)
                    || ["x-first-death-", "x-last-death-", "x-opt-"].iter().any(|prefix| text.starts_with(prefix));
                let expected = (!goes).then_some(value);
                prop_assert_eq!(kept.inner().get(text), expected);
            }
            prop_assert!(before_any_failure(&headers).inner().keys().all(|name| !name.as_str().starts_with(OURS)));
        }

        #[test]
        fn number_is_the_one_that_was_sent_or_none(value in value()) {
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

    /// All headers that RabbitMQ 3.10.8, 4.0.5 and 4.3.6 were seen to add to a message that was requeued, rejected and
    /// dead-lettered.
    #[test]
    fn copy_has_no_header_of_the_broker_of_any_version() {
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
        assert_eq!(names(&for_copy(&table)), [ATTEMPT, "x-shop"]);
        assert_eq!(names(&before_any_failure(&table)), ["x-shop"]);
    }
}
