//! Decides which messages are handled alone, so that a message that kills its worker takes no neighbour with it.
//!
//! When a channel ends, RabbitMQ counts that against every message in hand, up to a whole prefetch. Without this module
//! the neighbours of a message that kills its workers would reach the queue's delivery limit together with it.
//!
//! A message returned [`SUSPECT_FROM`] times is put at the end of its queue as a marked copy, whose count starts again.
//! A worker that receives a marked message takes one message at a time
//! ([`Mode::Alone`](crate::pipeline::acting::Mode::Alone)). From then on the count is the message's own.
//!
//! A worker does this for one of its queues at a time. With two, a message that kills the worker would also count
//! against the other queue's message.
//!
//! RabbitMQ's version decides what raises the count (`x-delivery-count`): in 3.10 and 4.0 every return to the queue; in
//! 4.3 `basic.reject` and the end of a channel, but not `basic.nack`.

use std::time::Duration;

use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable},
};

use super::event_metadata::number;
use crate::broker::{headers::ALONE, names};

/// How many returns make a message a suspect. More than one, because a broken connection or a broker restart also
/// returns messages.
pub const SUSPECT_FROM: u32 = 3;

/// How many times a message may be returned while it is handled alone, before it is dead-lettered.
///
/// More than once, since workers also end for other reasons. Together with the three returns before, the message may end
/// eight workers. Kubernetes' back-off between restarts (up to five minutes) stretches that to half an hour.
const ENDS_ALONE: u32 = 5;

/// How long a worker keeps taking one message at a time after the last suspect. Suspects from one batch follow each
/// other closely.
pub const LINGER: Duration = Duration::from_secs(2);

/// The header in which RabbitMQ counts how many times a message was returned unsettled.
const RETURNS: &str = "x-delivery-count";

/// What to do with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Handle it.
    Usual,
    /// Handle it, with nothing else in hand.
    Alone,
    /// Put it back as a marked copy.
    SetAside,
    /// Dead-letter it: it was returned this many times while it was handled alone.
    GiveUp(u32),
}

impl Handling {
    /// Returns what to do with this delivery. `alone` means that the consumer has one message in hand at a time.
    #[must_use]
    pub fn of(delivery: &Delivery, alone: bool) -> Self {
        match ends_alone(delivery) {
            Some(ends) if ends >= ENDS_ALONE => Self::GiveUp(ends),
            Some(_) if alone => Self::Alone,
            Some(_) => Self::SetAside,
            None if returns(delivery) >= SUSPECT_FROM => Self::SetAside,
            None => Self::Usual,
        }
    }
}

/// Returns the reason for giving up a message.
#[must_use]
pub fn reason(ends: u32) -> String {
    format!("its worker ended, or lost its connection, {ends} times while it handled this message alone")
}

/// Returns whether a delivery must be put back as a copy instead of left until its channel ends, which would raise its
/// count. The message is not at fault when its provider is unavailable.
#[must_use]
pub fn is_not_left(delivery: &Delivery) -> bool {
    ends_alone(delivery).is_some() || returns(delivery).saturating_add(1) >= SUSPECT_FROM
}

/// Marks the headers of a copy if its delivery is marked or a suspect.
pub fn mark(delivery: &Delivery, headers: &mut FieldTable) {
    let suspect = || (returns(delivery) >= SUSPECT_FROM).then_some(0);
    if let Some(ends) = ends_alone(delivery).or_else(suspect) {
        headers.insert(ALONE.into(), AMQPValue::LongUInt(ends));
    }
}

/// Returns how many times a marked message was returned while it was handled alone; `None` without a mark. Trusts the
/// mark only on messages from `orders.return`: a dead letter moved to its queue by hand still has the header, but
/// starts again.
fn ends_alone(delivery: &Delivery) -> Option<u32> {
    let marked = delivery.exchange.as_str() == names::RETURN;
    let before = marked.then(|| number(delivery, ALONE)).flatten()?;
    Some(before.saturating_add(returns(delivery)))
}

/// Returns how many times the broker has taken this delivery back, as counted for the queue's delivery limit.
fn returns(delivery: &Delivery) -> u32 {
    number(delivery, RETURNS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;
    use crate::broker::headers;

    fn delivery(exchange: &str, returns: u32, mark: Option<u32>) -> Delivery {
        let mut table = FieldTable::default();
        table.insert(RETURNS.into(), AMQPValue::LongLongInt(returns.into()));
        if let Some(mark) = mark {
            table.insert(ALONE.into(), AMQPValue::LongUInt(mark));
        }
        let mut delivery = Delivery::mock(1, exchange.into(), "payment.order-created".into(), true, b"{}".to_vec());
        delivery.properties = BasicProperties::default().with_headers(table);
        delivery
    }

    fn marked(delivery: &Delivery) -> Option<u32> {
        let mut table = FieldTable::default();
        mark(delivery, &mut table);
        headers::number(&table, ALONE)
    }

    #[test]
    fn message_returned_repeatedly_is_set_aside_before_it_is_handled_alone() {
        let fresh = delivery(names::EVENTS, SUSPECT_FROM - 1, None);
        assert_eq!((Handling::of(&fresh, false), marked(&fresh)), (Handling::Usual, None));
        let suspect = delivery(names::EVENTS, SUSPECT_FROM, None);
        for alone in [false, true] {
            assert_eq!(Handling::of(&suspect, alone), Handling::SetAside, "its count includes its neighbours'");
        }
        assert_eq!(marked(&suspect), Some(0), "its own count starts here");
        let copy = delivery(names::RETURN, 0, Some(0));
        assert_eq!(Handling::of(&copy, false), Handling::SetAside);
        assert_eq!(Handling::of(&copy, true), Handling::Alone);
    }

    #[test]
    fn message_that_ends_its_worker_while_handled_alone_is_given_up_even_if_put_back_between() {
        let once = delivery(names::RETURN, 1, Some(0));
        assert_eq!((Handling::of(&once, true), marked(&once)), (Handling::Alone, Some(1)));
        let last = delivery(names::RETURN, 2, Some(ENDS_ALONE - 2));
        for alone in [false, true] {
            assert_eq!(Handling::of(&last, alone), Handling::GiveUp(ENDS_ALONE));
        }
    }

    #[test]
    fn dead_letter_moved_back_by_hand_starts_again() {
        assert_eq!(Handling::of(&delivery("", 0, Some(ENDS_ALONE)), false), Handling::Usual);
    }

    #[test]
    fn intermittent_provider_makes_no_message_a_suspect() {
        assert!(!is_not_left(&delivery(names::EVENTS, SUSPECT_FROM - 2, None)));
        let last = delivery(names::EVENTS, SUSPECT_FROM - 1, None);
        assert!(is_not_left(&last), "one more closed channel would make it a suspect");
        assert_eq!(marked(&last), None, "its copy's count starts again");
        assert!(is_not_left(&delivery(names::RETURN, 0, Some(0))), "its count must be its own");
    }
}
