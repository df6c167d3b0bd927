//! Determines which subscriptions still have to apply which events of the order, and what is known about each.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_events::timestamp;
use orderflow_service::Subscription;
use serde::Serialize;
use uuid::Uuid;

use super::facts::Facts;
use crate::services::roster;
use crate::store::story::{Attempt, DeadLetter, Event, Waiting};

/// An event that a subscription consumes and has not applied.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'f> {
    /// The event.
    pub event: &'f Event,
    /// The subscription.
    pub subscription: Subscription,
    /// Its row in the outbox, if it is not published yet.
    pub outbox: Option<&'f Waiting>,
    /// Its waiting dead letter.
    pub parked: Option<&'f DeadLetter>,
    /// Its dead letter that a command has taken out since.
    pub taken_out: Option<&'f DeadLetter>,
    /// The last failed attempt.
    pub last: Option<&'f Attempt>,
}

/// An event that is published, not applied and not dead-lettered: under way, being retried, or lost.
#[derive(Debug, Clone, Serialize)]
pub struct Missing {
    event_id: Uuid,
    event: String,
    version: i32,
    subscription: String,
    age_seconds: i64,
    /// When the next attempt is due, if it is still to come.
    #[serde(with = "timestamp::optional")]
    retry_at: Option<DateTime<Utc>>,
}

/// Returns every unapplied pair of event and subscription, in the order of the log; `None` if a part that this needs
/// could not be read.
#[must_use]
pub fn pending(facts: &Facts) -> Option<Vec<Pending<'_>>> {
    let (applied, attempts) = (facts.applied.as_ref()?, facts.attempts.as_ref()?);
    let (outbox, dead_letters) = (facts.outbox.as_ref()?, facts.dead_letters.as_ref()?);
    let mut pending = Vec::new();
    for event in facts.events.as_ref()? {
        let tracked = |one: &Subscription| roster().is_tracked(*one);
        for subscription in roster().takers(&event.event).into_iter().filter(tracked) {
            let queue = subscription.queue();
            if applied.iter().any(|row| row.event_id == event.event_id && row.subscription == queue) {
                continue;
            }
            let last = attempts.iter().rfind(|row| row.event_id == event.event_id && row.subscription == queue);
            let mut dead_letters =
                dead_letters.iter().filter(|row| row.event_id == event.event_id && row.subscription == queue);
            // An operator may move a dead letter by hand, which its row does not show; a later attempt does.
            let moved = |letter: &DeadLetter| last.is_some_and(|last| last.failed_at > letter.died_at);
            let taken_out = dead_letters.clone().rfind(|letter| letter.left_at.is_some() && !moved(letter));
            if event.archived && taken_out.is_none() {
                continue;
            }
            pending.push(Pending {
                event,
                subscription,
                outbox: outbox.iter().find(|row| row.event_id == event.event_id),
                parked: dead_letters.rfind(|letter| letter.left_at.is_none() && !moved(letter)),
                taken_out,
                last,
            });
        }
    }
    Some(pending)
}

/// Returns the queues that consume events of this order without recording what they have applied, each once.
#[must_use]
pub fn untracked(events: &[Event]) -> Vec<String> {
    let takers = events.iter().flat_map(|event| roster().takers(&event.event));
    let queues: BTreeSet<String> = takers.filter(|one| !roster().is_tracked(*one)).map(|one| one.queue()).collect();
    queues.into_iter().collect()
}

impl Pending<'_> {
    /// Returns whether an operator discarded the event for this subscription.
    #[must_use]
    pub fn is_discarded(&self) -> bool {
        self.parked.is_none() && self.taken_out.is_some_and(|letter| letter.left_by.as_deref() == Some("discarded"))
    }

    /// Returns how long ago the event occurred.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        now - self.event.occurred_at
    }
}

/// Returns the pairs that are not known to be anywhere.
#[must_use]
pub fn missing(pending: &[Pending<'_>], now: DateTime<Utc>) -> Vec<Missing> {
    // Discarded messages are not missing: they are not republished either.
    let nowhere = pending.iter().filter(|one| one.outbox.is_none() && one.parked.is_none() && !one.is_discarded());
    nowhere
        .map(|one| Missing {
            event_id: one.event.event_id,
            event: one.event.event.clone(),
            version: one.event.version,
            subscription: one.subscription.queue(),
            age_seconds: one.age(now).num_seconds(),
            retry_at: one.last.and_then(|last| last.retry_at).filter(|due| *due > now),
        })
        .collect()
}
