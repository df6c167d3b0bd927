//! Chooses the retry tier for a failed event, and passes over a tier whose queue confirms nothing.
//!
//! RabbitMQ may lose a single queue, for example after a full disk, and accept messages for all others. Without this, a
//! broken retry queue would keep failed events in their work queue, where they return again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    broker::{PublishError, Publisher, names},
    config::RetryDelays,
};

/// How long a tier confirms nothing before it is passed over. After a restart of RabbitMQ, queues come online one after
/// the other, within 30 s in the runs of docs/FAULTS.md.
const PATIENCE: Duration = Duration::from_secs(45);

/// Failures further apart than this say nothing about the time between them. Longer than two tries, each with the
/// publication's time-out (20 s) and the longest wait before it (20 s with its jitter).
const APART: Duration = Duration::from_secs(100);

/// How long a tier is passed over. Then one event tries it again, and all publications wait up to 20 s if the queue does
/// not answer.
const PASSED_OVER: Duration = Duration::from_secs(5 * 60);

/// The retry tiers of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RetryTiers {
    delays: RetryDelays,
    /// The tiers whose last publication was not confirmed, by delay.
    failing: Arc<Mutex<HashMap<Duration, Failing>>>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    last: Instant,
    passed_over_until: Option<Instant>,
}

impl RetryTiers {
    /// Returns the tiers with these delays, all of them usable.
    #[must_use]
    pub fn new(delays: RetryDelays) -> Self {
        Self { delays, failing: Arc::default() }
    }

    /// Returns the delays of the tiers.
    #[must_use]
    pub const fn delays(&self) -> &RetryDelays {
        &self.delays
    }

    /// Returns `wanted` or, while it is passed over, the next longer tier, or the longest shorter one if there is none.
    /// If all are passed over, it returns `wanted`.
    ///
    /// When a tier has been passed over long enough, one caller gets it, and all others pass it over further.
    #[must_use]
    pub fn choose(&self, wanted: Duration) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_empty() {
            return wanted;
        }
        let now = Instant::now();
        let mut is_usable =
            |delay: &Duration| match failing.get_mut(delay).and_then(|one| one.passed_over_until.as_mut()) {
                None => true,
                Some(until) if *until <= now => {
                    *until = now + PASSED_OVER;
                    true
                }
                Some(_) => false,
            };
        let (shorter, longer) =
            self.delays.as_slice().split_at(self.delays.as_slice().partition_point(|delay| *delay < wanted));
        longer.iter().chain(shorter.iter().rev()).find(|delay| is_usable(delay)).copied().unwrap_or(wanted)
    }

    /// Records how a publication to a tier ended.
    pub fn published(&self, tier: Duration, outcome: Result<(), PublishError>, publisher: &Publisher) {
        match outcome {
            Ok(()) => self.confirmed(tier),
            Err(PublishError::Refused) => self.unconfirmed(tier, Sign::Refused),
            Err(PublishError::TimedOut) => {
                self.unconfirmed(tier, Sign::TimedOut(&|since| publisher.has_confirmed_since(since)));
            }
            Err(PublishError::Lost) => self.unconfirmed(tier, Sign::Lost),
            Err(PublishError::NotConnected | PublishError::Forbidden) => {}
        }
    }

    fn confirmed(&self, tier: Duration) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(&tier).is_some_and(|one| one.passed_over_until.is_some()) {
            tracing::info!(queue = names::retry(tier), "RabbitMQ confirms messages for this queue again");
        }
    }

    fn unconfirmed(&self, tier: Duration, sign: Sign<'_>) {
        let now = Instant::now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(sign, Sign::Lost) && !failing.contains_key(&tier) {
            return;
        }
        let new = Failing { since: now, last: now, passed_over_until: None };
        let one = failing.entry(tier).or_insert(new);
        if one.passed_over_until.is_some() {
            return;
        }
        if now.duration_since(one.last) > APART {
            *one = new;
        }
        one.last = now;
        if now.duration_since(one.since) >= PATIENCE && sign.is_of_this_queue(one.since) {
            one.passed_over_until = Some(now + PASSED_OVER);
            tracing::warn!(
                queue = names::retry(tier),
                hint = "`orderflow doctor` names queues that RabbitMQ cannot serve; docs/RUNBOOK.md, \"RabbitMQ cannot read a queue\"",
                "RabbitMQ confirms no message for this queue; for five minutes failed events go to another retry queue"
            );
        }
    }
}

/// Why a message has no confirm.
enum Sign<'a> {
    /// RabbitMQ refused it, as it does when the queue's process does not run.
    Refused,
    /// The confirm did not come in time. Tells whether RabbitMQ has confirmed any message since then.
    TimedOut(&'a dyn Fn(Instant) -> bool),
    /// It was in flight when another message's confirm did not come in time, or the connection broke. This counts only
    /// for a queue that has shown another sign.
    Lost,
}

impl Sign<'_> {
    /// Returns whether this queue alone may be at fault. In a memory or disk alarm RabbitMQ answers to no message.
    fn is_of_this_queue(&self, since: Instant) -> bool {
        match self {
            Self::Refused => true,
            Self::TimedOut(has_confirmed) => has_confirmed(since),
            Self::Lost => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers() -> RetryTiers {
        RetryTiers::new("1s,10s,1m".parse().expect("a list"))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Lets RabbitMQ refuse messages for a tier long enough.
    async fn refuse(tiers: &RetryTiers, tier: u64) {
        tiers.unconfirmed(seconds(tier), Sign::Refused);
        tokio::time::advance(PATIENCE).await;
        tiers.unconfirmed(seconds(tier), Sign::Refused);
    }

    #[tokio::test(start_paused = true)]
    async fn next_longer_tier_is_used_then_a_shorter_one_then_the_wanted_one() {
        let tiers = tiers();
        for (broken, used) in [(10, 60), (60, 1), (1, 10)] {
            refuse(&tiers, broken).await;
            assert_eq!(tiers.choose(seconds(10)), seconds(used), "{broken} is broken too");
        }
        tiers.confirmed(seconds(10));
        assert_eq!(tiers.choose(seconds(1)), seconds(10));
    }

    #[tokio::test(start_paused = true)]
    async fn tier_is_tried_again_by_one_event_after_five_minutes() {
        let tiers = tiers();
        refuse(&tiers, 1).await;
        tokio::time::advance(PASSED_OVER).await;
        assert_eq!([tiers.choose(seconds(1)), tiers.choose(seconds(1))], [seconds(1), seconds(10)]);
        tiers.unconfirmed(seconds(1), Sign::Refused);
        assert_eq!(tiers.choose(seconds(1)), seconds(10));
        tiers.confirmed(seconds(1));
        assert_eq!([tiers.choose(seconds(1)), tiers.choose(seconds(1))], [seconds(1), seconds(1)]);
    }

    /// Otherwise a restart would send events to tiers of hours.
    #[tokio::test(start_paused = true)]
    async fn tier_is_used_while_its_queue_may_be_starting() {
        let tiers = tiers();
        tiers.unconfirmed(seconds(1), Sign::Refused);
        tokio::time::advance(PATIENCE / 2).await;
        tiers.unconfirmed(seconds(1), Sign::Refused);
        assert_eq!(tiers.choose(seconds(1)), seconds(1), "it may be starting");
        tokio::time::advance(APART + seconds(1)).await;
        tiers.unconfirmed(seconds(1), Sign::Refused);
        assert_eq!(tiers.choose(seconds(1)), seconds(1), "it was not used for a while");
    }

    /// Otherwise an alarm would send events to tiers of hours.
    #[tokio::test(start_paused = true)]
    async fn tier_that_does_not_answer_is_passed_over_only_if_rabbitmq_answers() {
        for confirmed in [false, true] {
            let tiers = tiers();
            let began = Instant::now();
            let has_confirmed = |since| {
                assert!(since <= began);
                confirmed
            };
            tiers.unconfirmed(seconds(1), Sign::TimedOut(&has_confirmed));
            tokio::time::advance(PATIENCE).await;
            tiers.unconfirmed(seconds(1), Sign::Lost);
            assert_eq!(tiers.choose(seconds(1)), seconds(1), "another queue may be at fault");
            tiers.unconfirmed(seconds(1), Sign::TimedOut(&has_confirmed));
            assert_eq!(tiers.choose(seconds(1)), seconds(if confirmed { 10 } else { 1 }));
        }
        let tiers = tiers();
        tiers.unconfirmed(seconds(10), Sign::Lost);
        tokio::time::advance(PATIENCE).await;
        tiers.unconfirmed(seconds(10), Sign::Refused);
        assert_eq!(tiers.choose(seconds(10)), seconds(10), "what was lost before says nothing about it");
    }
}
