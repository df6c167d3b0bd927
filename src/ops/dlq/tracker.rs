//! Tracks replayed dead letters: the inbox shows which were applied, and the index which were dead-lettered again.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
};

use chrono::{DateTime, Utc};
use orderflow_service::store::{
    ANSWER_WITHIN, Connection, StoreError, event_log,
    failures::{self, DeadLetterKey, LeftBy},
    inbox,
};
use serde::Serialize;
use uuid::Uuid;

use super::{Desk, at, key};
use crate::{
    broker::DeadLetter,
    ops::{Failed, words::count},
    services::roster,
};

/// The most messages to list individually; beyond that, applied ones are only counted.
const LINES: usize = 50;

/// The state of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in its dead-letter queue.
    NotSent,
    /// It is in its work queue, in a worker or in a retry tier.
    UnderWay,
    /// It was sent to a service that does not record what it has applied, so its outcome is unknown.
    Sent,
    /// Its event is applied.
    Applied,
    /// It is in its dead-letter queue again, for this reason.
    DiedAgain(String),
}

/// A message in the report.
#[derive(Debug, Serialize)]
pub struct Line {
    order_id: Option<Uuid>,
    order: Option<String>,
    message_id: String,
    queue: String,
    outcome: &'static str,
    reason: Option<String>,
}

struct Tracked {
    key: DeadLetterKey,
    /// The subscription that applies it.
    home: String,
    /// Whether that subscription records what it has applied.
    is_tracked: bool,
    fate: Fate,
    was_applied: bool,
    is_noted: bool,
    sent_at: Option<DateTime<Utc>>,
}

/// Tracks the messages of one replay, in their order.
pub struct Tracker<'a> {
    desk: orderflow_service::store::Database,
    dead_letters: &'a [DeadLetter],
    tracked: Vec<Tracked>,
    numbers: HashMap<Uuid, String>,
    last_death: i64,
}

impl<'a> Tracker<'a> {
    /// Reads what is known of the messages before anything is sent.
    pub async fn new(desk: &Desk, dead_letters: &'a [DeadLetter]) -> Result<Self, StoreError> {
        let numbers = desk.numbers(dead_letters.iter().filter_map(|letter| letter.order_id)).await?;
        let last_death =
            desk.database.run(ANSWER_WITHIN, async |c: &mut Connection| failures::last_death(c).await).await?;
        let tracked = dead_letters
            .iter()
            .map(|letter| Tracked {
                key: key(letter),
                home: letter.home.queue(),
                is_tracked: roster().is_tracked(letter.home),
                fate: Fate::NotSent,
                was_applied: false,
                is_noted: false,
                sent_at: None,
            })
            .collect();
        let mut tracker = Self { desk: desk.database.clone(), dead_letters, tracked, numbers, last_death };
        for index in tracker.applied_among(|_| true).await? {
            if let Some(tracked) = tracker.tracked.get_mut(index) {
                tracked.was_applied = true;
            }
        }
        Ok(tracker)
    }

    /// Returns how many were applied before the replay.
    pub fn applied(&self) -> usize {
        self.tracked.iter().filter(|tracked| tracked.was_applied).count()
    }

    /// Returns the messages to send first, at most `number`: those whose outcome the inbox will show. If there are
    /// none, returns the first message.
    pub fn canaries(&self, number: usize) -> Vec<(usize, &'a DeadLetter)> {
        let telling = |tracked: &Tracked| tracked.is_tracked && tracked.key.event_id.is_some() && !tracked.was_applied;
        let all = || self.tracked.iter().zip(self.dead_letters).enumerate();
        let mut first: Vec<_> = all().filter(|(_, (tracked, _))| telling(tracked)).take(number).collect();
        if first.is_empty() {
            first = all().take(1).collect();
        }
        first.into_iter().map(|(index, (_, letter))| (index, letter)).collect()
    }

    /// Returns how many were applied after they were sent, and how many were dead-lettered again.
    pub fn ended(&self) -> (usize, usize) {
        let count = |wanted: fn(&Fate) -> bool| self.tracked.iter().filter(|tracked| wanted(&tracked.fate)).count();
        (count(|fate| *fate == Fate::Applied), count(|fate| matches!(fate, Fate::DiedAgain(_))))
    }

    /// Returns whether the outcome of any message can be observed.
    pub fn is_tracked(&self) -> bool {
        self.tracked.iter().any(|tracked| tracked.is_tracked)
    }

    /// Marks a message as sent.
    pub fn sent_now(&mut self, index: usize) {
        if let Some(tracked) = self.tracked.get_mut(index) {
            tracked.fate = if tracked.is_tracked { Fate::UnderWay } else { Fate::Sent };
            tracked.sent_at = Some(Utc::now());
        }
    }

    /// Returns whether a message was sent.
    pub fn is_sent(&self, index: usize) -> bool {
        self.tracked.get(index).is_some_and(|tracked| tracked.fate != Fate::NotSent)
    }

    /// Returns how many were sent.
    pub fn sent(&self) -> usize {
        self.tracked.iter().filter(|tracked| tracked.fate != Fate::NotSent).count()
    }

    /// Returns whether any sent message is neither applied nor dead.
    pub fn is_anything_under_way(&self) -> bool {
        self.tracked.iter().any(|tracked| tracked.fate == Fate::UnderWay)
    }

    /// Returns the state of a message as of the last [`Tracker::poll`].
    pub fn fate_of(&self, index: usize) -> Fate {
        self.tracked.get(index).map_or(Fate::NotSent, |tracked| tracked.fate.clone())
    }

    /// Returns a description of the first message that was dead-lettered again.
    pub fn death(&self) -> Option<String> {
        self.tracked.iter().zip(self.dead_letters).find_map(|(tracked, letter)| match &tracked.fate {
            Fate::DiedAgain(reason) => Some(format!("{} died again: {reason}", letter.id)),
            _ => None,
        })
    }

    /// Queries the outcome of everything under way, and records sent messages in the index.
    pub async fn poll(&mut self) -> Result<(), StoreError> {
        self.note_sent().await?;
        for index in self.applied_among(|tracked| tracked.fate == Fate::UnderWay).await? {
            if let Some(tracked) = self.tracked.get_mut(index) {
                tracked.fate = Fate::Applied;
            }
        }
        let under_way = |tracked: &&mut Tracked| tracked.fate == Fate::UnderWay;
        // A message that fails again is dead-lettered in the queue of the subscription that it was sent to.
        let home = |tracked: &Tracked| DeadLetterKey { subscription: tracked.home.clone(), ..tracked.key.clone() };
        let keys: Vec<_> = self.tracked.iter_mut().filter(under_way).map(|tracked| home(tracked)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let last = self.last_death;
        let asking = async |c: &mut Connection| failures::died_since(c, last, &keys).await;
        let deaths = self.desk.run(ANSWER_WITHIN, asking).await?;
        let reasons: HashMap<_, _> =
            deaths.into_iter().map(|death| ((death.event_id, death.subscription), death.reason)).collect();
        for tracked in self.tracked.iter_mut().filter(under_way) {
            if let Some(reason) = reasons.get(&(tracked.key.event_id, tracked.home.clone())) {
                tracked.fate = Fate::DiedAgain(reason.clone());
            }
        }
        Ok(())
    }

    /// Returns a description of a message's last failure since it was sent.
    pub async fn last_failure(&self, index: usize) -> Result<Option<String>, StoreError> {
        let Some(tracked) = self.tracked.get(index) else { return Ok(None) };
        let (Some(event_id), Some(sent_at)) = (tracked.key.event_id, tracked.sent_at) else { return Ok(None) };
        let home = &tracked.home;
        let asking = async |c: &mut Connection| failures::failed_since(c, event_id, home, sent_at).await;
        let failed = self.desk.run(ANSWER_WITHIN, asking).await?;
        Ok(failed.map(|failed| match &failed.retry_at {
            Some(retry_at) => format!("failed ({}), and will be retried at {}", failed.reason, at(retry_at)),
            None => format!("failed ({})", failed.reason),
        }))
    }

    /// Returns every message with its outcome.
    pub fn lines(&self) -> Vec<Line> {
        let line = |(tracked, letter): (&Tracked, &DeadLetter)| {
            let (outcome, reason) = match &tracked.fate {
                Fate::NotSent => ("not_sent", None),
                Fate::UnderWay => ("waiting", None),
                Fate::Sent => ("sent", None),
                Fate::Applied => ("applied", None),
                Fate::DiedAgain(reason) => ("died_again", Some(reason.clone())),
            };
            Line {
                order_id: letter.order_id,
                order: letter.order_id.and_then(|id| self.numbers.get(&id)).cloned(),
                message_id: letter.id.clone(),
                queue: tracked.home.clone(),
                outcome,
                reason,
            }
        };
        self.tracked.iter().zip(self.dead_letters).map(line).collect()
    }

    /// Writes the report as text.
    pub fn print(&self, out: &mut impl Write) -> Result<(), Failed> {
        let mut lines = self.lines();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &lines {
            *counts.entry(line.outcome).or_default() += 1;
        }
        lines.retain(|line| line.outcome != "not_sent");
        if lines.len() > LINES {
            lines.retain(|line| line.outcome != "applied");
        }
        if !lines.is_empty() {
            writeln!(out, "\n{:10}  {:36}  {:28}  outcome", "order", "message", "queue")?;
        }
        for line in lines.iter().take(LINES) {
            let order = line.order.as_deref().unwrap_or("unknown");
            let outcome = words(line.outcome);
            let reason = line.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            writeln!(out, "{order:10}  {:36}  {:28}  {outcome}{reason}", line.message_id, line.queue)?;
        }
        if lines.len() > LINES {
            writeln!(out, "and {} more; --json lists all", lines.len() - LINES)?;
        }
        let counts: Vec<_> = counts.iter().map(|(outcome, number)| format!("{number} {}", words(outcome))).collect();
        writeln!(out, "\n{} sent: {}.", count(self.sent(), "message"), counts.join(", "))?;
        if self.is_anything_under_way() {
            writeln!(out, "Workers continue with messages still under way: `orderflow why ORDER` shows their state.")?;
        }
        Ok(())
    }

    async fn note_sent(&mut self) -> Result<(), StoreError> {
        let fresh = |tracked: &&mut Tracked| tracked.fate != Fate::NotSent && !tracked.is_noted;
        let keys: Vec<_> = self.tracked.iter_mut().filter(fresh).map(|tracked| tracked.key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let last = self.last_death;
        let noting = async |c: &mut Connection| failures::leave(c, &keys, LeftBy::Replayed, last).await;
        self.desk.run(ANSWER_WITHIN, noting).await?;
        for tracked in self.tracked.iter_mut().filter(fresh) {
            tracked.is_noted = true;
        }
        Ok(())
    }

    /// Returns the indexes of those that are applied.
    async fn applied_among(&self, which: impl Fn(&Tracked) -> bool) -> Result<Vec<usize>, StoreError> {
        let mut by_home: BTreeMap<&str, Vec<(usize, Uuid)>> = BTreeMap::new();
        for (index, tracked) in self.tracked.iter().enumerate().filter(|(_, tracked)| which(tracked)) {
            if let Some(event_id) = tracked.key.event_id {
                by_home.entry(&tracked.home).or_default().push((index, event_id));
            }
        }
        let mut applied = Vec::new();
        if by_home.is_empty() {
            return Ok(applied);
        }
        for (home, events) in by_home {
            let ids: Vec<_> = events.iter().map(|(_, id)| *id).collect();
            let asking = async |c: &mut Connection| {
                let mut applied = inbox::applied(c, home, &ids).await?;
                // Archived events count as applied: a worker acknowledges them without a row in the inbox.
                applied.extend(event_log::archived(c, &ids).await?);
                Ok::<_, StoreError>(applied)
            };
            let found = self.desk.run(ANSWER_WITHIN, asking).await?;
            applied.extend(events.into_iter().filter(|(_, id)| found.contains(id)).map(|(index, _)| index));
        }
        Ok(applied)
    }
}

fn words(outcome: &str) -> &str {
    match outcome {
        "not_sent" => "not sent",
        "waiting" => "still under way",
        "sent" => "sent, not tracked",
        "died_again" => "died again",
        other => other,
    }
}
