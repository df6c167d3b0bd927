//! Chooses the queue for a failed event, and passes over queues for which RabbitMQ confirms nothing.
//!
//! RabbitMQ may lose a single queue, for example after a full disk, and accepts everything for the others. Without this
//! a broken retry queue would keep failed events in their work queue, where they return again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    broker::{PublishError, names},
    config::RetryDelays,
};

/// How long a queue is passed over. Then one event tries it again. Long compared with the 20 seconds that a message
/// waits for its confirm, because the publisher reconnects after each of them.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// The queue that a failed event goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextQueue {
    /// The retry queue with this delay.
    Retry(Duration),
    /// The dead-letter queue of the event's work queue.
    DeadLetters,
}

impl NextQueue {
    /// Returns the exchange that leads to it.
    #[must_use]
    pub fn exchange(self) -> String {
        match self {
            Self::Retry(delay) => names::retry(delay),
            Self::DeadLetters => names::DEAD_LETTERS.to_owned(),
        }
    }

    /// Returns the delay until the next attempt, if there is one.
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self {
            Self::Retry(delay) => Some(delay),
            Self::DeadLetters => None,
        }
    }

    /// Returns its name, for events of this work queue.
    fn name(self, work_queue: &str) -> String {
        match self {
            Self::Retry(delay) => names::retry(delay),
            Self::DeadLetters => names::dead_letter_queue(work_queue),
        }
    }
}

/// The queues for failed events of a process, and which of them confirm nothing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NextQueues {
    delays: RetryDelays,
    /// Until when each queue is passed over. Bounded by the number of queues.
    passed_over: Arc<Mutex<HashMap<String, Instant>>>,
}

impl NextQueues {
    /// Returns the queues of these retry delays, all of them usable.
    #[must_use]
    pub fn new(delays: RetryDelays) -> Self {
        Self { delays, passed_over: Arc::default() }
    }

    /// Returns the delays of the retry queues.
    #[must_use]
    pub const fn delays(&self) -> &RetryDelays {
        &self.delays
    }

    /// Returns `wanted` or, while it is passed over, the retry queue with the next longer delay, or the longest shorter
    /// one. In place of a dead-letter queue it returns the longest delay. If all are passed over, it returns `wanted`.
    ///
    /// When a queue has been passed over long enough, one caller gets it, and all others pass it over further.
    #[must_use]
    pub fn choose(&self, wanted: NextQueue, work_queue: &str) -> NextQueue {
        let now = Instant::now();
        let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        if passed_over.is_empty() {
            return wanted;
        }
        let mut usable = |queue: &NextQueue| match passed_over.get_mut(&queue.name(work_queue)) {
            None => true,
            Some(until) if *until <= now => {
                *until = now + PASSED_OVER;
                true
            }
            Some(_) => false,
        };
        self.in_order(wanted).into_iter().find(|queue| usable(queue)).unwrap_or(wanted)
    }

    /// Returns all queues that an event may go to in place of `wanted`, the best first.
    fn in_order(&self, wanted: NextQueue) -> Vec<NextQueue> {
        let delays = self.delays.as_slice();
        let at_least = wanted.delay().map_or(delays.len(), |wanted| delays.partition_point(|delay| *delay < wanted));
        let (shorter, longer) = delays.split_at(at_least);
        let dead_letters = (wanted == NextQueue::DeadLetters).then_some(wanted);
        let retries = longer.iter().chain(shorter.iter().rev()).map(|delay| NextQueue::Retry(*delay));
        dead_letters.into_iter().chain(retries).collect()
    }

    /// Records how publishing to a queue ended. A lost connection says nothing about a queue.
    pub fn published(&self, queue: NextQueue, work_queue: &str, outcome: Result<(), PublishError>) {
        let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) if passed_over.is_empty() => {}
            Ok(()) => drop(passed_over.remove(&queue.name(work_queue))),
            Err(PublishError::TimedOut | PublishError::Refused) => {
                let name = queue.name(work_queue);
                tracing::warn!(
                    queue = name,
                    hint = "`orderflow doctor` names queues that RabbitMQ cannot serve; docs/RUNBOOK.md, \"RabbitMQ cannot read a queue\"",
                    "RabbitMQ did not confirm a failed event for this queue; for a minute such events go to another retry queue"
                );
                passed_over.insert(name, Instant::now() + PASSED_OVER);
            }
            Err(PublishError::NotConnected | PublishError::Lost | PublishError::Forbidden) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: &str = "payment.order-created";
    const TIMED_OUT: Result<(), PublishError> = Err(PublishError::TimedOut);

    fn queues() -> NextQueues {
        NextQueues::new("1s,10s,1m".parse().expect("a list"))
    }

    fn retry(seconds: u64) -> NextQueue {
        NextQueue::Retry(Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn next_longer_retry_queue_is_used_then_a_shorter_one_then_the_wanted_one() {
        let queues = queues();
        for (broken, used) in [(10, 60), (60, 1), (1, 10)] {
            queues.published(retry(broken), WORK, TIMED_OUT);
            assert_eq!(queues.choose(retry(10), WORK), retry(used), "{broken} is broken too");
        }
        queues.published(retry(10), WORK, Ok(()));
        assert_eq!(queues.choose(retry(1), WORK), retry(10), "another process may have repaired it");
    }

    #[tokio::test(start_paused = true)]
    async fn longest_retry_queue_stands_in_for_a_dead_letter_queue_of_one_work_queue() {
        let queues = queues();
        queues.published(NextQueue::DeadLetters, WORK, Err(PublishError::Refused));
        assert_eq!(queues.choose(NextQueue::DeadLetters, WORK), retry(60));
        assert_eq!(queues.choose(NextQueue::DeadLetters, "email.order-created"), NextQueue::DeadLetters);
        queues.published(retry(60), WORK, TIMED_OUT);
        assert_eq!(queues.choose(NextQueue::DeadLetters, WORK), retry(10));
    }

    #[tokio::test(start_paused = true)]
    async fn one_event_a_minute_tries_the_broken_queue() {
        let queues = queues();
        queues.published(retry(1), WORK, TIMED_OUT);
        tokio::time::advance(PASSED_OVER).await;
        assert_eq!([queues.choose(retry(1), WORK), queues.choose(retry(1), WORK)], [retry(1), retry(10)]);
        queues.published(retry(1), WORK, Ok(()));
        assert_eq!([queues.choose(retry(1), WORK), queues.choose(retry(1), WORK)], [retry(1), retry(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_connection_does_not_count_against_a_queue() {
        let queues = queues();
        for lost in [PublishError::NotConnected, PublishError::Lost, PublishError::Forbidden] {
            queues.published(retry(1), WORK, Err(lost));
        }
        assert_eq!(queues.choose(retry(1), WORK), retry(1));
    }
}
