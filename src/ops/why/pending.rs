//! Which subscription has still to apply which event of the order, and what is known of each.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_events::timestamp;
use orderflow_service::Subscription;
use serde::Serialize;
use uuid::Uuid;

use super::facts::Facts;
use crate::services::roster;
use crate::store::story::{Attempt, DeadLetter, Event, Waiting};

/// An event that a subscription takes and has not applied.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'f> {
    /// The event.
    pub event: &'f Event,
    /// Who takes it.
    pub subscription: Subscription,
    /// The event is not published yet.
    pub outbox: Option<&'f Waiting>,
    /// It is dead-lettered and waits for a person.
    pub parked: Option<&'f DeadLetter>,
    /// It was dead-lettered, and a command took it out since.
    pub taken_out: Option<&'f DeadLetter>,
    /// The attempt that failed last.
    pub last: Option<&'f Attempt>,
}

/// An event that is published, not applied, and not dead-lettered: under way, being tried again, or lost.
#[derive(Debug, Clone, Serialize)]
pub struct Missing {
    event_id: Uuid,
    event: String,
    version: i32,
    subscription: String,
    age_seconds: i64,
    /// When the next attempt is due, if that is still to come.
    #[serde(with = "timestamp::optional")]
    retry_at: Option<DateTime<Utc>>,
}

/// Every pair that is not applied, in the order of the log; `None` where a part that says so could not be read.
#[must_use]
pub fn pending(facts: &Facts) -> Option<Vec<Pending<'_>>> {
    let (applied, attempts) = (facts.applied.as_ref()?, facts.attempts.as_ref()?);
    let (outbox, letters) = (facts.outbox.as_ref()?, facts.dead_letters.as_ref()?);
    let mut pending = Vec::new();
    for event in facts.events.as_ref()? {
        let tracked = |one: &Subscription| roster().is_tracked(*one);
        for subscription in roster().takers(&event.event).into_iter().filter(tracked) {
            let queue = subscription.queue();
            if applied.iter().any(|row| row.event_id == event.event_id && row.subscription == queue) {
                continue;
            }
            let last = attempts.iter().rfind(|row| row.event_id == event.event_id && row.subscription == queue);
            let mut letters = letters.iter().filter(|row| row.event_id == event.event_id && row.subscription == queue);
            // Somebody may move a letter by hand, which its row does not show; that it was tried again since does.
            let moved = |letter: &DeadLetter| last.is_some_and(|last| last.failed_at > letter.died_at);
            let taken_out = letters.clone().rfind(|letter| letter.left_at.is_some() && !moved(letter));
            if event.archived && taken_out.is_none() {
                continue;
            }
            pending.push(Pending {
                event,
                subscription,
                outbox: outbox.iter().find(|row| row.event_id == event.event_id),
                parked: letters.rfind(|letter| letter.left_at.is_none() && !moved(letter)),
                taken_out,
                last,
            });
        }
    }
    Some(pending)
}

/// The queues that took events of this order without our being able to tell what was applied, each once.
#[must_use]
pub fn untracked(events: &[Event]) -> Vec<String> {
    let takers = events.iter().flat_map(|event| roster().takers(&event.event));
    let queues: BTreeSet<String> = takers.filter(|one| !roster().is_tracked(*one)).map(|one| one.queue()).collect();
    queues.into_iter().collect()
}

impl Pending<'_> {
    /// A person has decided that it is not to be done.
    #[must_use]
    pub fn is_discarded(&self) -> bool {
        self.parked.is_none() && self.taken_out.is_some_and(|letter| letter.left_by.as_deref() == Some("discarded"))
    }

    /// How long ago the event was said.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        now - self.event.occurred_at
    }
}

/// The pairs of which nothing says that they are elsewhere.
#[must_use]
pub fn missing(pending: &[Pending<'_>], now: DateTime<Utc>) -> Vec<Missing> {
    // What a person discarded is not missing: it is not sent again either.
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
