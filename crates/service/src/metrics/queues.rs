//! Metrics of each queue's deliveries.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::buckets::{self, Histograms};

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Acknowledged; its effect is committed.
    Recorded,
    /// Acknowledged; its effect had been committed before.
    Repeated,
    /// Published to a retry tier.
    Retried,
    /// Published to the dead-letter queue.
    DeadLettered,
    /// Requeued: its provider is unavailable, or its copy could not be published.
    PutBack,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Repeated => "repeated",
            Self::Retried => "retried",
            Self::DeadLettered => "dead_lettered",
            Self::PutBack => "put_back",
        }
    }
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyDead {
    /// A retry cannot help.
    Rejected,
    /// The retries are exhausted.
    Exhausted,
    /// The event log has no such event.
    NotInLog,
}

impl WhyDead {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "attempts_exhausted",
            Self::NotInLog => "not_in_log",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    queue: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Retried {
    queue: String,
    tier: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dead {
    queue: String,
    reason: &'static str,
}

/// The metrics of all queues.
#[derive(Debug)]
pub(super) struct QueuesMetrics {
    consumed: Family<Queue, Gauge>,
    deliveries: Family<Queue, Counter>,
    settled: Family<Settled, Counter>,
    retries: Family<Retried, Counter>,
    dead_letters: Family<Dead, Counter>,
    altered: Family<Queue, Counter>,
    in_hand: Family<Queue, Gauge>,
    slots: Family<Queue, Gauge>,
    lag: Histograms<Queue>,
    processing: Histograms<Queue>,
    step: Histograms<Queue>,
    batch: Histograms<Queue>,
    /// Not exported: the process itself reads them.
    sums: Family<Queue, Sums>,
}

impl QueuesMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let times = || Histograms::new_with_constructor(buckets::times);
        let metrics = Self {
            consumed: Family::default(),
            deliveries: Family::default(),
            settled: Family::default(),
            retries: Family::default(),
            dead_letters: Family::default(),
            altered: Family::default(),
            in_hand: Family::default(),
            slots: Family::default(),
            lag: times(),
            processing: times(),
            step: times(),
            batch: Histograms::new_with_constructor(buckets::sizes),
            sums: Family::default(),
        };
        metrics.register_counts(registry);
        metrics.register_times(registry);
        metrics
    }

    fn register_counts(&self, registry: &mut Registry) {
        let help = "1 while this process consumes the queue";
        registry.register("orderflow_queue_consumed", help, self.consumed.clone());
        let help = "Messages that the broker delivered";
        registry.register("orderflow_queue_deliveries", help, self.deliveries.clone());
        let help = "Settled deliveries, by outcome: recorded, repeated, retried, dead_lettered, put_back (requeued)";
        registry.register("orderflow_queue_settled", help, self.settled.clone());
        let help = "Failed attempts, by the delay of their retry tier";
        registry.register("orderflow_queue_retries", help, self.retries.clone());
        let help = "Dead letters, by reason: rejected (a retry cannot help), attempts_exhausted or not_in_log (the event log has no such event)";
        registry.register("orderflow_queue_dead_letters", help, self.dead_letters.clone());
        let help = "Messages that differed from their event in the log; the log's data was used";
        registry.register("orderflow_queue_altered_messages", help, self.altered.clone());
        let help = "Events that this process has in hand: delivered and not settled yet";
        registry.register("orderflow_queue_in_hand", help, self.in_hand.clone());
        let help = "The most events that this process may have in hand (PREFETCH); 0 while it does not consume normally: not connected, or paused because a provider is unavailable";
        registry.register("orderflow_queue_slots", help, self.slots.clone());
        let help = "Events recorded in one transaction";
        registry.register("orderflow_queue_batch_events", help, self.batch.clone());
    }

    fn register_times(&self, registry: &mut Registry) {
        let help = "From an event's time until a worker first has it in hand";
        registry.register_with_unit("orderflow_queue_lag", help, Unit::Seconds, self.lag.clone());
        let help = "From receiving an event until it is settled or requeued";
        registry.register_with_unit("orderflow_queue_processing", help, Unit::Seconds, self.processing.clone());
        let help = "From an event's time until its effect is committed, retries included, replays excluded";
        registry.register_with_unit("orderflow_queue_step", help, Unit::Seconds, self.step.clone());
    }

    /// Returns the handles of one queue.
    pub(super) fn of(&self, name: &str) -> QueueMetrics {
        let queue = Queue { queue: name.to_owned() };
        let settled = |outcome: Outcome| {
            self.settled.get_or_create_owned(&Settled { queue: name.to_owned(), outcome: outcome.as_str() })
        };
        // Exported from the start: the alert needs an increase from 0.
        drop(self.dead_letters.get_or_create(&Dead { queue: name.to_owned(), reason: WhyDead::NotInLog.as_str() }));
        QueueMetrics {
            settled: self.settled.clone(),
            retries: self.retries.clone(),
            dead_letters: self.dead_letters.clone(),
            consumed: self.consumed.get_or_create_owned(&queue),
            deliveries: self.deliveries.get_or_create_owned(&queue),
            altered: self.altered.get_or_create_owned(&queue),
            recorded: settled(Outcome::Recorded),
            repeated: settled(Outcome::Repeated),
            in_hand: self.in_hand.get_or_create_owned(&queue),
            slots: self.slots.get_or_create_owned(&queue),
            lag: self.lag.get_or_create_owned(&queue),
            processing: self.processing.get_or_create_owned(&queue),
            step: self.step.get_or_create_owned(&queue),
            batch: self.batch.get_or_create_owned(&queue),
            sums: self.sums.get_or_create_owned(&queue),
            queue,
        }
    }
}

/// Sums that the process itself reads. They duplicate the histograms, which cannot be read.
#[derive(Debug, Clone, Default)]
struct Sums {
    settled: Counter,
    processing: Counter<f64, AtomicU64>,
    first_attempts: Counter,
    lag: Counter<f64, AtomicU64>,
    failures: Counter,
}

/// A queue's counts since the process started. The fields are read one after another, so they may be an event apart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Events that are no longer in hand, whatever their outcome.
    pub settled: u64,
    /// The seconds that those events were in hand, summed.
    pub processing_seconds: f64,
    /// Events received for their first attempt.
    pub first_attempts: u64,
    /// The seconds between those events and their first attempts, summed.
    pub lag_seconds: f64,
    /// Failed attempts, retried or dead-lettered.
    pub failures: u64,
    /// Events in hand now.
    pub in_hand: i64,
    /// The most events that may be in hand now; 0 while the queue is not consumed normally.
    pub slots: i64,
}

/// The handles of one queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueueMetrics {
    queue: Queue,
    settled: Family<Settled, Counter>,
    retries: Family<Retried, Counter>,
    dead_letters: Family<Dead, Counter>,
    consumed: Gauge,
    deliveries: Counter,
    recorded: Counter,
    repeated: Counter,
    altered: Counter,
    in_hand: Gauge,
    slots: Gauge,
    lag: Histogram,
    processing: Histogram,
    step: Histogram,
    batch: Histogram,
    sums: Sums,
}

impl QueueMetrics {
    /// Sets whether this process consumes the queue.
    pub fn consumed(&self, consumed: bool) {
        self.consumed.set(consumed.into());
    }

    /// Sets the most events that may be in hand; 0 while the queue is not consumed normally.
    pub fn slots(&self, slots: u16) {
        self.slots.set(slots.into());
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            settled: self.sums.settled.get(),
            processing_seconds: self.sums.processing.get(),
            first_attempts: self.sums.first_attempts.get(),
            lag_seconds: self.sums.lag.get(),
            failures: self.sums.failures.get(),
            in_hand: self.in_hand.get(),
            slots: self.slots.get(),
        }
    }

    /// Counts a delivery.
    pub fn delivered(&self) {
        self.deliveries.inc();
    }

    /// Counts a message that differed from its event in the log.
    pub fn altered(&self) {
        self.altered.inc();
    }

    /// Counts an event as in hand until the returned guard is dropped.
    #[must_use]
    pub fn take(&self) -> InHand {
        self.in_hand.inc();
        InHand {
            in_hand: self.in_hand.clone(),
            processing: self.processing.clone(),
            sums: self.sums.clone(),
            since: Instant::now(),
        }
    }

    /// Records how long after its event a first attempt began.
    pub fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
        self.sums.first_attempts.inc();
        self.sums.lag.inc_by(lag.as_secs_f64());
    }

    /// Records a committed batch of this many events.
    pub fn batch(&self, events: usize) {
        self.batch.observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
    }

    /// Records how long after its event an effect was committed.
    pub fn step(&self, took: Duration) {
        self.step.observe(took.as_secs_f64());
    }

    /// Counts deliveries with this outcome.
    pub fn settled(&self, outcome: Outcome, deliveries: usize) {
        let number = u64::try_from(deliveries).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Recorded => self.recorded.inc_by(number),
            Outcome::Repeated => self.repeated.inc_by(number),
            _ => {
                let settled = Settled { queue: self.queue.queue.clone(), outcome: outcome.as_str() };
                self.settled.get_or_create(&settled).inc_by(number)
            }
        };
    }

    /// Counts a failed attempt that waits in the retry tier of this delay.
    pub fn retried(&self, delay: Duration) {
        self.settled(Outcome::Retried, 1);
        self.sums.failures.inc();
        let tier = humantime::format_duration(delay).to_string();
        self.retries.get_or_create(&Retried { queue: self.queue.queue.clone(), tier }).inc();
    }

    /// Counts a message that became a dead letter.
    pub fn dead_lettered(&self, reason: WhyDead) {
        self.settled(Outcome::DeadLettered, 1);
        self.sums.failures.inc();
        self.dead_letters.get_or_create(&Dead { queue: self.queue.queue.clone(), reason: reason.as_str() }).inc();
    }
}

/// An event in hand. It stops counting when this guard is dropped, whatever its outcome.
#[derive(Debug)]
pub struct InHand {
    in_hand: Gauge,
    processing: Histogram,
    sums: Sums,
    since: Instant,
}

impl InHand {
    /// Records that the event is settled or requeued.
    pub fn settled(self) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.processing.observe(seconds);
        self.sums.settled.inc();
        self.sums.processing.inc_by(seconds);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.in_hand.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_counts_as_in_hand_until_its_guard_is_dropped() {
        let queue = QueuesMetrics::register(&mut Registry::default()).of("payment.order-created");
        let (first, second) = (queue.take(), queue.take());
        assert_eq!(queue.in_hand.get(), 2);
        first.settled();
        assert_eq!(queue.in_hand.get(), 1);
        drop(second);
        assert_eq!(queue.in_hand.get(), 0);
    }

    #[test]
    fn all_handles_of_a_queue_count_into_one_tally() {
        let queues = QueuesMetrics::register(&mut Registry::default());
        let (one, other) = (queues.of("payment.order-created"), queues.of("payment.order-created"));
        one.slots(512);
        one.lag(Duration::from_secs(2));
        one.take().settled();
        other.take().settled();
        other.retried(Duration::from_secs(1));
        other.dead_lettered(WhyDead::Rejected);
        let _in_hand = other.take();
        let tally = one.tally();
        let expected = Tally {
            settled: 2,
            processing_seconds: tally.processing_seconds,
            first_attempts: 1,
            lag_seconds: 2.0,
            failures: 2,
            in_hand: 1,
            slots: 512,
        };
        assert_eq!((tally, tally), (expected, other.tally()));
        assert_eq!(queues.of("email.order-created").tally(), Tally::default());
    }
}
