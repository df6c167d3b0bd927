//! Plans what to send to which queue, and what prevents it.

use std::{collections::BTreeMap, time::Duration};

use chrono::{TimeDelta, Utc};
use orderflow_service::{
    Subscription,
    broker::{BrokerCheck, NotReady, names},
    store::{
        Connection,
        missing::{ConsumedEvents, Pair},
        purged::{self, Listed},
    },
};

use super::options::RepublishOptions;
use crate::ops::{
    Failed,
    missing::{self, Missing, Search},
    words::count,
};
use crate::services::roster;

/// The most deliveries that one run sends; the next run sends more.
pub const AT_MOST: u32 = 100_000;

/// The plans by queue.
pub type Plans = BTreeMap<String, Plan>;

/// What one queue lacks, and what to do about it.
#[derive(Debug, Default)]
pub struct Plan {
    /// Missing deliveries.
    pub found: Vec<Pair>,
    /// Messages that the index lists as dead letters.
    pub listed: Vec<Listed>,
    /// Why nothing is sent to this queue.
    pub refused: Option<String>,
    /// Why the listed messages are not sent.
    pub still_there: Option<String>,
    /// How many were sent.
    pub sent: usize,
    /// How many dead letters without an event were removed from the list.
    pub taken_off: usize,
}

impl Plan {
    /// Returns the missing deliveries to send.
    pub fn missing(&self) -> &[Pair] {
        if self.refused.is_none() { &self.found } else { &[] }
    }

    /// Returns the purged messages to send, or at least to remove from the list.
    pub fn purged(&self) -> &[Listed] {
        if self.refused.is_none() && self.still_there.is_none() { &self.listed } else { &[] }
    }

    /// Returns how many deliveries to send.
    pub fn sendable(&self) -> usize {
        self.missing().len() + self.purged().len() - self.nothing_to_send()
    }

    /// Returns how many purged messages have no event to send.
    pub fn nothing_to_send(&self) -> usize {
        self.purged().iter().filter(|one| one.event_id.is_none()).count()
    }

    /// Checks on the broker whether anything prevents sending.
    pub async fn ask(&mut self, check: &BrokerCheck, queue: &str, force: bool) -> Result<(), Failed> {
        self.refused = refusal(check, queue, force).await?;
        if !self.listed.is_empty() {
            // Checked after the list was read: every listed message was dead-lettered before that, so a queue that is
            // empty now has lost it.
            self.still_there = still_there(check, queue).await?;
        }
        Ok(())
    }
}

/// The result of the search.
pub struct Found {
    /// The plans, by queue.
    pub plans: Plans,
    /// Whether the search reached its end.
    pub complete: bool,
    /// Deliveries too young to count as missing: they are on their way, or lost.
    pub younger: usize,
    /// Queues of services that do not record what they have applied: their missing deliveries are unknown.
    pub untracked: Vec<String>,
}

/// Finds missing deliveries by queue.
pub async fn find(connection: &mut Connection, options: &RepublishOptions, arrival: Duration) -> Result<Found, Failed> {
    let far = || Failed::Usage("--since is too large".to_owned());
    let since = TimeDelta::from_std(options.since).ok().and_then(|since| Utc::now().checked_sub_signed(since));
    let chosen = |one: &&Subscription| options.queue.as_ref().is_none_or(|pattern| pattern.matches(**one));
    let chosen: Vec<Subscription> = roster().subscriptions().iter().filter(chosen).copied().collect();
    let consumed = ConsumedEvents::of(roster(), &chosen);
    let at_most = usize::try_from(AT_MOST).unwrap_or(usize::MAX);
    let younger = missing::younger(connection, consumed.clone(), arrival, at_most).await?;
    let search = Search {
        consumed,
        since: since.ok_or_else(far)?,
        arrival,
        at_most,
        // No overall bound: every statement has its own, and an operator who does not want to wait can interrupt.
        within: Duration::MAX,
    };
    let Missing { by_queue, ended_at } = missing::find(connection, search).await?;
    let plan = |(queue, found)| (queue, Plan { found, ..Plan::default() });
    let (mut plans, mut complete): (Plans, _) = (by_queue.into_iter().map(plan).collect(), ended_at.is_none());
    if options.purged {
        let queues: Vec<String> = chosen.iter().map(|one| one.queue()).collect();
        let listed = purged::listed(connection, &queues, arrival, AT_MOST.into()).await?;
        complete &= u32::try_from(listed.len()).is_ok_and(|listed| listed < AT_MOST);
        for one in listed {
            plans.entry(one.subscription.clone()).or_default().listed.push(one);
        }
    }
    let untracked = chosen.iter().filter(|one| !roster().is_tracked(**one)).map(|one| one.queue()).collect();
    Ok(Found { plans, complete, younger, untracked })
}

async fn refusal(check: &BrokerCheck, queue: &str, force: bool) -> Result<Option<String>, Failed> {
    match check.ready_messages(queue).await {
        Ok(0) => Ok(None),
        Ok(_) if force => Ok(None),
        Ok(waiting) => Ok(Some(format!(
            "{} {} in it, and may be among these: let workers empty it first, or pass --force",
            count(waiting, "message"),
            if waiting == 1 { "waits" } else { "wait" }
        ))),
        Err(missing @ NotReady::Missing(_)) => Ok(Some(missing.to_string())),
        Err(unreachable) => Err(unreachable.into()),
    }
}

async fn still_there(check: &BrokerCheck, queue: &str) -> Result<Option<String>, Failed> {
    let dead_letter_queue = names::dead_letter_queue(queue);
    match check.ready_messages(&dead_letter_queue).await {
        Ok(0) => Ok(None),
        Ok(there) => Ok(Some(format!(
            "{dead_letter_queue} has {}, and only an empty queue shows what was purged: `orderflow dlq replay` or \
             `discard` its messages first",
            count(there, "message")
        ))),
        Err(missing @ NotReady::Missing(_)) => Ok(Some(missing.to_string())),
        Err(unreachable) => Err(unreachable.into()),
    }
}
