//! Checks an order's log for consistency, and against the order's row.

use std::collections::HashSet;

use orderflow_events::EventKind;
use orderflow_order::domain::OrderStatus;
use orderflow_service::audit::Rule;

use super::catalogue::{CAUSE, CONTRADICTION, ILLEGAL_STEP, LOG_GAP, LOG_ORPHAN, STATUS, TWICE};
use crate::{
    ops::why::violations::{NOT_BOTH, ONCE},
    store::audit::{Entry, Placed},
};

/// A violation: the broken rule, and how it is broken.
pub type Wrong = (Rule, String);

/// Checks an order's row and its log; either may be missing.
pub fn check(order: Option<&Placed>, log: &[Entry], found: &mut Vec<Wrong>) {
    if order.is_none() {
        let last = log.last().map_or(0, |entry| entry.version);
        found.push((LOG_ORPHAN, format!("the log has events up to version {last} of an order that does not exist")));
    }
    gap(log, found);
    repeated(log, found);
    causes(log, found);
    fold(order, log, found);
}

/// Returns the status of an order at the end of its log.
#[must_use]
pub fn end(log: &[Entry]) -> OrderStatus {
    let kinds = log.iter().filter_map(|entry| entry.event.parse::<EventKind>().ok());
    kinds.fold(OrderStatus::Pending, |status, kind| status.after(kind).unwrap_or(status))
}

fn gap(log: &[Entry], found: &mut Vec<Wrong>) {
    match log.last() {
        None => found.push((LOG_GAP, "the log has no events of it".to_owned())),
        Some(last) => {
            if let Some((missing, _)) = (1..).zip(log).find(|(version, entry)| *version != entry.version) {
                let what = format!("the log has no version {missing}, though it goes up to {}", last.version);
                found.push((LOG_GAP, what));
            }
        }
    }
}

fn repeated(log: &[Entry], found: &mut Vec<Wrong>) {
    let times = |event: &str| log.iter().filter(|entry| entry.event == event).count();
    for event in ONCE {
        let times = times(event);
        if times > 1 {
            found.push((TWICE, format!("{event} is in the log {times} times")));
        }
    }
    for (one, other) in NOT_BOTH {
        if times(one) > 0 && times(other) > 0 {
            found.push((CONTRADICTION, format!("both {one} and {other} are in the log")));
        }
    }
}

/// Only events that customers cause at the front end may lack a cause.
fn causes(log: &[Entry], found: &mut Vec<Wrong>) {
    let from_outside = [EventKind::OrderCreated, EventKind::OrderCancelRequested].map(EventKind::routing_key);
    let mut earlier = HashSet::new();
    for entry in log {
        let known = match entry.causation_id {
            Some(cause) => earlier.contains(&cause),
            None => from_outside.contains(&entry.event.as_str()),
        };
        if !known {
            let what =
                format!("the cause of {} (version {}) is not an earlier event of it", entry.event, entry.version);
            found.push((CAUSE, what));
        }
        earlier.insert(entry.event_id);
    }
}

/// Folds the log as the order service does: an event that is not allowed leaves the status unchanged.
fn fold(order: Option<&Placed>, log: &[Entry], found: &mut Vec<Wrong>) {
    let (mut status, mut cancel_requested) = (OrderStatus::Pending, false);
    // The expected row: the fold up to its version.
    let mut expected = None;
    for (place, entry) in log.iter().enumerate() {
        let Entry { version, event, .. } = entry;
        let kind = event.parse::<EventKind>().ok();
        let begins = (place == 0) == (kind == Some(EventKind::OrderCreated));
        // An event type of another version, or of a service that runs elsewhere, is allowed anywhere but first.
        let next = kind.map_or((place > 0).then_some(status), |kind| status.after(kind));
        match next.filter(|_| begins || place > 0) {
            Some(next) => status = next,
            None => {
                found.push((ILLEGAL_STEP, format!("{event} (version {version}) is not allowed when it is {status}")))
            }
        }
        cancel_requested |= kind == Some(EventKind::OrderCancelRequested);
        if order.is_some_and(|order| order.version == *version) {
            expected = Some((status, cancel_requested));
        }
    }
    let (Some(order), false) = (order, log.is_empty()) else { return };
    match expected {
        None => {
            let last = log.last().map_or(0, |entry| entry.version);
            found.push((
                STATUS,
                format!("it is at version {}, which its log, up to {last}, does not have", order.version),
            ));
        }
        Some((status, _)) if order.status != status.as_str() => {
            let what = format!("it is {}, but by its log {status} at version {}", order.status, order.version);
            found.push((STATUS, what));
        }
        Some((_, requested)) if order.cancel_requested != requested => {
            let asked = if requested { "was" } else { "was not" };
            found.push((STATUS, format!("its row contradicts its log: by the log, a cancel {asked} requested")));
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    /// Each event follows from the one before it.
    fn log(events: &[&str]) -> Vec<Entry> {
        let entry = |(version, event): (i32, &&str)| Entry {
            order_id: Uuid::nil(),
            version,
            event_id: Uuid::from_u128(u128::from(version.unsigned_abs())),
            event: (*event).to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            causation_id: (version > 1).then(|| Uuid::from_u128(u128::from(version.unsigned_abs()) - 1)),
        };
        (1..).zip(events).map(entry).collect()
    }

    fn placed(status: &str, version: i32) -> Placed {
        let number = "4Z8K2M9Q10".to_owned();
        Placed { id: Uuid::nil(), number, status: status.to_owned(), version, cancel_requested: false }
    }

    fn found(order: &Placed, log: &[Entry]) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        check(Some(order), log, &mut found);
        found.into_iter().map(|(rule, what)| (rule.name, what)).collect()
    }

    const PAID: [&str; 2] = ["order.created", "payment.completed"];

    #[test]
    fn order_may_lag_behind_its_log() {
        assert_eq!(found(&placed("pending", 1), &log(&PAID)), []);
        assert_eq!(found(&placed("paid", 2), &log(&PAID)), []);
    }

    #[test]
    fn each_violation_is_reported_once() {
        let mut gap = log(&["order.created", "payment.completed", "inventory.reserved"]);
        gap.remove(1);
        let mut uncaused = log(&PAID);
        uncaused[1].causation_id = Some(Uuid::from_u128(2));
        let illegal = log(&["order.created", "inventory.reserved"]);
        let cancel = Placed { cancel_requested: true, ..placed("paid", 2) };
        for (found, rule, says) in [
            (found(&placed("pending", 1), &[]), "log-gap", "the log has no events of it"),
            (found(&placed("paid", 1), &log(&PAID)), "status", "it is paid, but by its log pending at version 1"),
            (found(&placed("paid", 3), &log(&PAID)), "status", "at version 3, which its log, up to 2, does not have"),
            (found(&cancel, &log(&PAID)), "status", "by the log, a cancel was not requested"),
            (found(&placed("paid", 2), &uncaused), "cause", "payment.completed (version 2) is not an earlier event"),
            (found(&placed("pending", 2), &illegal), "illegal-step", "inventory.reserved (version 2) is not allowed"),
        ] {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].0 == rule && found[0].1.contains(says), "{found:?} lacks {says:?}");
        }
        let of_a_kind_elsewhere = found(&placed("pending", 2), &log(&["order.created", "loyalty.points-booked"]));
        assert!(of_a_kind_elsewhere.is_empty(), "{of_a_kind_elsewhere:?}");
        let gap = found(&placed("pending", 3), &gap);
        assert!(gap.iter().any(|(rule, what)| *rule == "log-gap" && what.contains("no version 2")), "{gap:?}");
        let begun = found(&placed("paid", 1), &log(&["payment.completed"]));
        assert!(begun.iter().any(|(rule, _)| *rule == "illegal-step"), "{begun:?}");
        let twice = found(&placed("paid", 2), &log(&["order.created", "payment.completed", "payment.completed"]));
        assert!(twice.iter().any(|(rule, _)| *rule == "twice"), "{twice:?}");
    }
}
