//! The names of exchanges and queues that the whole system shares. They are part of the contract.

use std::time::Duration;

/// Topic exchange that every event is published to.
pub const EVENTS: &str = "orders.events";
/// Keeps messages that no queue was bound for: a fanout exchange and its queue.
pub const UNROUTED: &str = "orders.unrouted";
/// Direct exchange through which a message returns to exactly one work queue.
pub const RETURN: &str = "orders.return";
/// Direct exchange to the dead-letter queues.
pub const DEAD_LETTERS: &str = "orders.dlx";

/// The end of a dead-letter queue's name.
pub const DEAD_LETTER_SUFFIX: &str = ".dlq";

/// Returns the name of a work queue's dead-letter queue, such as `payment.order-created.dlq`.
#[must_use]
pub fn dead_letter_queue(work_queue: &str) -> String {
    format!("{work_queue}{DEAD_LETTER_SUFFIX}")
}

/// Returns the name of the exchange and queue in which messages wait for `delay`: `orders.retry.10s`.
#[must_use]
pub fn retry(delay: Duration) -> String {
    // humantime separates units with spaces, as in "1m 30s".
    format!("orders.retry.{}", humantime::format_duration(delay).to_string().replace(' ', ""))
}
