//! Derives the findings of each order from the data of a range of orders.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    catalogue::UNPUBLISHED,
    delivery,
    finding::{Finding, Named},
    history::{self, Wrong},
};
use crate::store::audit::{Entry, KEYS, Picture, Placed, Trouble, Unapplied};

/// Everything known about one order.
#[derive(Default)]
struct Seen<'p> {
    placed: Option<&'p Placed>,
    log: &'p [Entry],
    unapplied: &'p [Unapplied],
    wrong: Vec<Wrong>,
}

/// Returns violations and parked messages by order; events from `before` on may still be on their way.
pub fn of(picture: &Picture, before: DateTime<Utc>) -> Vec<Finding> {
    let mut seen = by_order(picture);
    for one in seen.values_mut().filter(|one| one.placed.is_some() || !one.log.is_empty()) {
        history::check(one.placed, one.log, &mut one.wrong);
        delivery::check(one.log, one.unapplied, before, &mut one.wrong);
    }
    let behind: BTreeSet<(Uuid, &str)> = picture.unapplied.iter().map(|one| (one.order_id, one.service())).collect();
    for broken in &picture.broken {
        let is_behind = |service| behind.contains(&(broken.order_id, service));
        if !broken.once_applied.is_some_and(is_behind) {
            let wrong = (broken.check.rule, broken.check.what.to_owned());
            seen.entry(broken.order_id).or_default().wrong.push(wrong);
        }
    }
    for one in &picture.unpublished {
        let what = format!("its event {} has been in the outbox since {}", one.event, delivery::at(&one.created_at));
        seen.entry(one.order_id).or_default().wrong.push((UNPUBLISHED, what));
    }
    for one in &picture.keys {
        let [missing, lost] = KEYS;
        seen.entry(one.order_id).or_default().wrong.push(match one.trouble {
            Trouble::NoKey => (missing, "it has no idempotency key, though keys of its age are kept".to_owned()),
            Trouble::NoOrder => (lost, "it was accepted, by its idempotency key, but does not exist".to_owned()),
        });
    }
    seen.into_iter().flat_map(|(id, one)| findings(id, one)).collect()
}

fn by_order(picture: &Picture) -> BTreeMap<Uuid, Seen<'_>> {
    let mut seen: BTreeMap<Uuid, Seen<'_>> = BTreeMap::new();
    for placed in &picture.orders {
        seen.entry(placed.id).or_default().placed = Some(placed);
    }
    for log in picture.log.chunk_by(|one, next| one.order_id == next.order_id) {
        if let Some(first) = log.first() {
            seen.entry(first.order_id).or_default().log = log;
        }
    }
    for unapplied in picture.unapplied.chunk_by(|one, next| one.order_id == next.order_id) {
        if let Some(first) = unapplied.first() {
            seen.entry(first.order_id).or_default().unapplied = unapplied;
        }
    }
    seen
}

fn findings(id: Uuid, seen: Seen<'_>) -> Vec<Finding> {
    let named = || Named::Order { id, number: seen.placed.map(|placed| placed.number.clone()) };
    let parked = delivery::parked(seen.unapplied).map(|parked| Finding::Parked { order: named(), parked });
    let violations =
        seen.wrong.iter().map(|(rule, what)| Finding::Violation { rule: *rule, of: named(), what: what.clone() });
    violations.chain(parked).collect()
}

#[cfg(test)]
mod tests {
    use orderflow_service::{
        audit::{Check, FILE_IT, Rule},
        store::missing::Whereabouts,
    };

    use super::*;
    use crate::store::audit::Broken;

    const UNSENT: Check = Check { rule: Rule { name: "unsent", remedy: FILE_IT }, broken: "", what: "" };

    /// Returns whether the rule is reported for an order with an event that this queue has not applied.
    fn is_reported(queue: &str) -> bool {
        let order_id = Uuid::from_u128(1);
        let unapplied = Unapplied {
            order_id,
            event_id: Uuid::from_u128(2),
            event: "shipment.created".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            subscription: queue.to_owned(),
            whereabouts: Whereabouts::Outbox,
            reason: None,
        };
        let broken = Broken { order_id, check: &UNSENT, once_applied: Some("email") };
        let picture = Picture { broken: vec![broken], unapplied: vec![unapplied], ..Picture::default() };
        let is_it = |one: &Finding| matches!(one, Finding::Violation { rule, .. } if *rule == UNSENT.rule);
        of(&picture, DateTime::UNIX_EPOCH).iter().any(is_it)
    }

    #[test]
    fn violation_explained_by_an_event_in_transit_is_not_reported() {
        assert!(!is_reported("email.shipment-created"));
        assert!(is_reported("payment.order-created"), "an event of another service does not explain it");
    }
}
