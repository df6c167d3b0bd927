//! Cheap checks of the invariants on one order. Each finding is a sentence.
//!
//! All parts are of one snapshot, so a concurrent change cannot explain a finding. A check whose parts could not be
//! read is skipped.

use std::collections::{BTreeMap, BTreeSet};

use orderflow_order::domain::OrderStatus;

use super::{
    facts::{Facts, Order},
    pending::Pending,
};
use crate::{
    ops::words::money,
    store::story::{Event, Mail},
};

/// Events that occur at most once for an order.
pub(in crate::ops) const ONCE: [&str; 12] = [
    "order.created",
    "payment.completed",
    "payment.failed",
    "payment.refunded",
    "payment.voided",
    "inventory.reserved",
    "inventory.rejected",
    "inventory.released",
    "shipment.created",
    "shipment.failed",
    "shipment.cancelled",
    "order.cancelled",
];

/// Pairs of events that exclude each other.
pub(in crate::ops) const NOT_BOTH: [(&str, &str); 6] = [
    ("payment.completed", "payment.failed"),
    ("payment.refunded", "payment.voided"),
    ("inventory.reserved", "inventory.rejected"),
    ("shipment.created", "shipment.failed"),
    ("shipment.created", "shipment.cancelled"),
    ("shipment.created", "payment.refunded"),
];

/// Returns all findings, in a fixed order.
#[must_use]
pub fn violations(facts: &Facts, pending: Option<&[Pending<'_>]>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(events) = &facts.events {
        log(events, &mut found);
    }
    match &facts.order {
        Some(Some(order)) => {
            behind(order, facts, &mut found);
            charged(order, facts, &mut found);
            held(order, facts, &mut found);
            shipped(order, facts, &mut found);
        }
        Some(None) => found.push("the log has events of an order that does not exist".to_owned()),
        None => {}
    }
    if let Some(pending) = pending {
        unsent(facts, pending, &mut found);
    }
    found
}

fn log(events: &[Event], found: &mut Vec<String>) {
    let versions: BTreeSet<i32> = events.iter().map(|event| event.version).collect();
    let last = versions.last().copied().unwrap_or(0);
    for gap in (1..last).filter(|version| !versions.contains(version)).take(10) {
        found.push(format!("the log has no version {gap}, though it goes up to {last}"));
    }
    for name in ONCE {
        let times = events.iter().filter(|event| event.event == name).count();
        if times > 1 {
            found.push(format!("{name} is in the log {times} times"));
        }
    }
    let said = |name: &str| events.iter().any(|event| event.event == name);
    for (one, other) in NOT_BOTH.into_iter().filter(|(one, other)| said(one) && said(other)) {
        found.push(format!("both {one} and {other} are in the log"));
    }
    for event in events {
        let known = |cause| events.iter().any(|one| one.event_id == cause && one.version < event.version);
        if event.causation_id.is_some_and(|cause| !known(cause)) {
            found.push(format!("the cause of {} (version {}) is not an earlier event", event.event, event.version));
        }
    }
}

/// Checks the status against the log. The order service folds the log up to each event that it applies, so the status
/// must not lag behind these.
fn behind(order: &Order, facts: &Facts, found: &mut Vec<String>) {
    let (Some(events), Some(applied)) = (&facts.events, &facts.applied) else { return };
    let last = events.iter().map(|event| event.version).max().unwrap_or(0);
    if order.version > last {
        found.push(format!("the order is at version {}, but its log ends at {last}", order.version));
    }
    let folded = |event: &&Event| {
        applied.iter().any(|row| row.event_id == event.event_id && row.subscription.starts_with("order."))
    };
    let folded = events.iter().filter(folded).map(|event| event.version).max().unwrap_or(0);
    if folded > order.version {
        found.push(format!(
            "the order is at version {}, though the order service has applied version {folded}",
            order.version
        ));
    }
}

fn status(order: &Order) -> Option<OrderStatus> {
    order.status.parse().ok()
}

/// Returns whether the parcel is on its way, or was.
fn is_shipped(status: Option<OrderStatus>) -> bool {
    matches!(status, Some(OrderStatus::Shipped | OrderStatus::InTransit | OrderStatus::Delivered))
}

fn charged(order: &Order, facts: &Facts, found: &mut Vec<String>) {
    let Some(payments) = &facts.payments else { return };
    let status = status(order);
    let has = |wanted: &str| payments.iter().any(|payment| payment.status == wanted);
    let succeeded = payments.iter().filter(|payment| payment.charge_id.is_some()).count();
    if succeeded > 1 {
        found.push(format!("the customer was charged {succeeded} times"));
    }
    if has("succeeded") && matches!(status, Some(OrderStatus::Cancelled | OrderStatus::PaymentFailed)) {
        found.push(format!("the customer is charged, though the order is {}", order.status));
    }
    let past_payment = matches!(status, Some(OrderStatus::Paid | OrderStatus::Reserved)) || is_shipped(status);
    if past_payment && !has("succeeded") {
        found.push(format!("the order is {}, though there is no payment that succeeded", order.status));
    }
    for payment in payments {
        if (payment.amount, &payment.currency) != (order.total, &order.currency) {
            let (paid, due) = (money(payment.amount, &payment.currency), money(order.total, &order.currency));
            found.push(format!("the payment is {paid}, the order's total {due}"));
        }
        let refunds = facts.events.iter().flatten().filter(|event| event.event == "payment.refunded");
        let refunds: Vec<i64> = refunds.filter_map(|event| event.data.get("amount")?.as_i64()).collect();
        if !refunds.is_empty() && refunds.iter().sum::<i64>() != payment.amount {
            let (back, paid) = (refunds.iter().sum(), payment.amount);
            let (back, paid) = (money(back, &payment.currency), money(paid, &payment.currency));
            found.push(format!("{back} were refunded of a payment of {paid}"));
        }
    }
}

fn held(order: &Order, facts: &Facts, found: &mut Vec<String>) {
    let Some(stock) = &facts.stock else { return };
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for movement in &stock.movements {
        *held.entry(&movement.sku).or_default() -= movement.quantity;
    }
    let status = status(order);
    let free = matches!(status, Some(OrderStatus::Cancelled | OrderStatus::PaymentFailed));
    for (sku, pieces) in held.iter().filter(|(_, pieces)| free && **pieces != 0) {
        found.push(format!("the order is {}, though it still holds {pieces} of {sku}", order.status));
    }
    for (sku, pieces) in held.iter().filter(|(_, pieces)| **pieces < 0) {
        found.push(format!("{} more of {sku} were released than set aside", -pieces));
    }
    let reserved = matches!(status, Some(OrderStatus::Reserved)) || is_shipped(status);
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for item in &order.items {
        *wanted.entry(&item.sku).or_default() += i64::from(item.quantity);
    }
    if reserved && held != wanted {
        found.push(format!("the order is {}, though the stock set aside does not match its items", order.status));
    }
}

fn shipped(order: &Order, facts: &Facts, found: &mut Vec<String>) {
    let Some(shipments) = &facts.shipments else { return };
    let created = shipments.iter().filter(|shipment| shipment.status == "created").count();
    if created > 1 {
        found.push(format!("there are {created} shipments"));
    }
    let status = status(order);
    if is_shipped(status) && created == 0 {
        found.push(format!("the order is {}, though there is no shipment", order.status));
    }
    if created > 0 && matches!(status, Some(OrderStatus::Cancelled | OrderStatus::PaymentFailed)) {
        found.push(format!("there is a shipment, though the order is {}", order.status));
    }
}

/// Checks for unsent mails: a mail is planned before it is sent, and its event is applied afterwards.
fn unsent(facts: &Facts, pending: &[Pending<'_>], found: &mut Vec<String>) {
    if pending.iter().any(|one| one.subscription.service() == "email") {
        return;
    }
    let is_open = |mail: &&Mail| mail.sent_at.is_none() && mail.held_back_at.is_none();
    for mail in facts.mails.iter().flatten().filter(is_open) {
        found.push(format!("the mail {:?} was planned and never sent, though its event is applied", mail.kind));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            pending::pending,
            sample::{self, Sample, mail, movement, payment},
        },
        *,
    };

    fn found(sample: Sample, change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = sample.facts();
        change(&mut facts);
        let pending = pending(&facts);
        violations(&facts, pending.as_deref())
    }

    #[test]
    fn healthy_orders_have_no_violations_even_in_transit() {
        assert_eq!(found(sample::shipped(), |_| {}), Vec::<String>::new());
        assert_eq!(found(Sample::placed(), |_| {}), Vec::<String>::new());
        // This mail may still be sent: its event is not applied yet.
        let sending = found(Sample::placed(), |facts| facts.mails = Some(vec![mail("received", None)]));
        assert_eq!(sending, Vec::<String>::new());
        // Parts that could not be read are not checked.
        assert_eq!(found(sample::shipped(), |facts| facts.payments = None), Vec::<String>::new());
    }

    #[test]
    fn each_violation_is_a_sentence() {
        let events = |facts: &mut Facts, change: fn(&mut Vec<Event>)| change(facts.events.as_mut().expect("there"));
        let shipped = sample::shipped;
        let refund = json!({ "amount": 1 });
        let holds = found(shipped().is("cancelled", 4), |facts| facts.payments = Some(Vec::new()));
        assert_eq!(
            holds,
            [
                "the order is cancelled, though it still holds 2 of MUG-BLUE",
                "there is a shipment, though the order is cancelled"
            ]
        );
        for (violations, expected) in [
            (
                found(shipped(), |facts| events(facts, |events| drop(events.remove(1)))),
                "the log has no version 2, though it goes up to 4",
            ),
            (
                found(shipped(), |facts| events(facts, |events| drop(events.remove(1)))),
                "the cause of inventory.reserved (version 3) is not an earlier event",
            ),
            (
                found(shipped().said("order.created", "web", 1, json!({})), |_| {}),
                "order.created is in the log 2 times",
            ),
            (
                found(shipped().said("payment.failed", "payment", 1, json!({})), |_| {}),
                "both payment.completed and payment.failed are in the log",
            ),
            (
                found(shipped().said("payment.refunded", "payment", 1, refund), |_| {}),
                "0.01 EUR were refunded of a payment of 29.98 EUR",
            ),
            (
                found(shipped().is("reserved", 3), |_| {}),
                "the order is at version 3, though the order service has applied version 4",
            ),
            (found(shipped().is("shipped", 5), |_| {}), "the order is at version 5, but its log ends at 4"),
            (
                found(shipped().is("payment_failed", 4), |_| {}),
                "the customer is charged, though the order is payment_failed",
            ),
            (
                found(shipped(), |facts| facts.payments = Some(Vec::new())),
                "the order is shipped, though there is no payment that succeeded",
            ),
            (
                found(shipped(), |facts| facts.payments = Some(vec![payment(), payment()])),
                "the customer was charged 2 times",
            ),
            (
                found(shipped(), |facts| facts.order.as_mut().unwrap().as_mut().unwrap().total = 1),
                "the payment is 29.98 EUR, the order's total 0.01 EUR",
            ),
            (
                found(shipped(), |facts| facts.stock.as_mut().unwrap().movements.clear()),
                "the order is shipped, though the stock set aside does not match its items",
            ),
            (
                found(shipped(), |facts| facts.stock.as_mut().unwrap().movements.push(movement("released", 3))),
                "1 more of MUG-BLUE were released than set aside",
            ),
            (
                found(shipped(), |facts| facts.shipments = Some(Vec::new())),
                "the order is shipped, though there is no shipment",
            ),
            (
                found(shipped(), |facts| facts.mails = Some(vec![mail("shipped", None)])),
                "the mail \"shipped\" was planned and never sent, though its event is applied",
            ),
            (found(shipped(), |facts| facts.order = Some(None)), "the log has events of an order that does not exist"),
        ] {
            assert!(violations.iter().any(|violation| violation == expected), "{expected}: {violations:?}");
        }
    }
}
