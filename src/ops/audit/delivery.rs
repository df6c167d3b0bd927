//! Checks events that are not applied yet: on their way, parked, or lost.

use chrono::{DateTime, Utc};
use orderflow_service::store::missing::Whereabouts;
use serde::Serialize;
use uuid::Uuid;

use super::{
    catalogue::{STUCK, UNAPPLIED},
    history::{self, Wrong},
};
use crate::services::roster;
use crate::store::audit::{Entry, Unapplied};

/// A dead letter that holds up an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// The message.
    pub event_id: Uuid,
    /// The event.
    pub event: String,
    /// The queue whose subscription could not handle it.
    pub subscription: String,
    /// The reason.
    pub reason: String,
}

/// Returns the waiting dead letters.
pub fn parked(unapplied: &[Unapplied]) -> impl Iterator<Item = Parked> {
    unapplied.iter().filter(|one| one.whereabouts == Whereabouts::Dead).map(|one| Parked {
        event_id: one.event_id,
        event: one.event.clone(),
        subscription: one.subscription.clone(),
        reason: one.reason.clone().unwrap_or_default(),
    })
}

/// Checks the unapplied events of an order that has a log; events from `before` on may still be on their way.
pub fn check(log: &[Entry], unapplied: &[Unapplied], before: DateTime<Utc>, found: &mut Vec<Wrong>) {
    let lost = |one: &&Unapplied| one.whereabouts == Whereabouts::Unknown && one.occurred_at < before;
    let lost: Vec<String> = unapplied
        .iter()
        .filter(lost)
        .map(|one| format!("{} has not applied {} of {}", one.subscription, one.event, at(&one.occurred_at)))
        .collect();
    if !lost.is_empty() {
        found.push((UNAPPLIED, lost.join(", ")));
    }
    stuck(log, unapplied, before, found);
}

fn stuck(log: &[Entry], unapplied: &[Unapplied], before: DateTime<Utc>, found: &mut Vec<Wrong>) {
    let status = history::end(log);
    let Some(last) = log.iter().map(|entry| entry.occurred_at).max() else { return };
    if status.is_settled() || last >= before {
        return;
    }
    let is_side = |one: &Unapplied| roster().is_side(one.service());
    let mut pending = unapplied.iter().filter(|one| !is_side(one));
    let since = at(&last);
    if unapplied.iter().all(is_side) {
        let what = format!("it is {status}, nothing has happened to it since {since}, and nothing is under way");
        found.push((STUCK, what));
    } else if let Some(one) = pending.find(|one| one.whereabouts == Whereabouts::Discarded) {
        let what = format!(
            "it has been {status} since {since}: the dead letter of {} for {} was discarded",
            one.event, one.subscription
        );
        found.push((STUCK, what));
    }
}

/// Formats a time with its date, because the line may be kept.
pub fn at(time: &DateTime<Utc>) -> String {
    time.format("%F %T UTC").to_string()
}
