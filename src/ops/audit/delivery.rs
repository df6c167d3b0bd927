//! What has not happened yet: on its way, parked, or lost.

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

/// A dead letter that an order waits behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// The message.
    pub event_id: Uuid,
    /// What happened.
    pub event: String,
    /// Who could not handle it, by the queue's name.
    pub subscription: String,
    /// Why.
    pub reason: String,
}

/// The dead letters that wait.
pub fn parked(unapplied: &[Unapplied]) -> impl Iterator<Item = Parked> {
    unapplied.iter().filter(|one| one.whereabouts == Whereabouts::Dead).map(|one| Parked {
        event_id: one.event_id,
        event: one.event.clone(),
        subscription: one.subscription.clone(),
        reason: one.reason.clone().unwrap_or_default(),
    })
}

/// Looks at what is not applied of an order that has a log; what happened at `before` or later is on its way.
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
            "it is {status} since {since}: the dead letter of {} for {} was discarded",
            one.event, one.subscription
        );
        found.push((STUCK, what));
    }
}

/// A time within a line that may be kept: with its day.
pub fn at(time: &DateTime<Utc>) -> String {
    time.format("%F %T UTC").to_string()
}
