//! Computes each queue's figures from what was read.

use orderflow_service::{
    Subscription,
    store::pace::{Measured, Pace},
};
use serde::Serialize;

use super::inspect::Known;
use crate::{
    broker::QueueDepth,
    capacity::{self, Drain},
    services::roster,
};

/// The figures of one work queue. Values that could not be read, or are not known yet, are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Its name.
    pub queue: String,
    /// Messages waiting in the broker.
    pub ready: Option<u32>,
    /// Messages delivered to workers and not settled yet.
    pub unacknowledged: Option<u32>,
    /// Consumers, one in each process.
    pub consumers: Option<u32>,
    /// Whether it has consumers and all of them are paused because their provider is unavailable, or not connected yet.
    pub paused: Option<bool>,
    /// Messages a second published to it in the last minute.
    pub arrivals_per_second: Option<f64>,
    /// Events a second that workers handled in the last half minute, whatever the outcome.
    pub handled_per_second: Option<f64>,
    /// Failed attempts a second: retries and dead letters.
    pub failures_per_second: Option<f64>,
    /// Processing time of an event, in seconds.
    pub processing_seconds: Option<f64>,
    /// Time from an event's occurrence to its handling, in seconds.
    pub lag_seconds: Option<f64>,
    /// Messages waiting in a retry tier to return to it.
    pub retries_waiting: Option<i64>,
    /// Messages in its dead-letter queue.
    pub dead_letters: Option<u32>,
    /// Processes that it needs, at least one.
    pub processes_needed: Option<u32>,
    /// Whether its backlog drains, if arrivals and throughput stay as they are.
    pub drains: Option<bool>,
    /// How long that takes, in seconds.
    pub drain_seconds: Option<f64>,
}

/// Returns the figures of each work queue from what could be read, in the sequence of an order's steps.
#[must_use]
pub fn figures(depths: Option<&[QueueDepth]>, known: Option<&Known>) -> Vec<Figures> {
    roster().subscriptions().iter().map(|subscription| of_one(*subscription, depths, known)).collect()
}

fn of_one(subscription: Subscription, depths: Option<&[QueueDepth]>, known: Option<&Known>) -> Figures {
    let (queue, dead) = (subscription.queue(), subscription.dead_letter_queue());
    let depth = |name: &str| depths?.iter().find(|depth| depth.name == name);
    let work = depth(&queue);
    let paces: Option<Vec<&Pace>> = known.map(|known| of_queue(&known.paces, &queue));
    let paces = paces.filter(|paces| !paces.is_empty());
    let mut figures = Figures {
        ready: work.and_then(|depth| depth.ready),
        unacknowledged: work.and_then(|depth| depth.unacknowledged),
        consumers: work.and_then(|depth| depth.consumers),
        retries_waiting: known.map(|known| known.retrying.get(&queue).copied().unwrap_or(0)),
        dead_letters: depth(&dead).and_then(|depth| depth.ready),
        ..Figures::default()
    };
    if let Some(paces) = &paces {
        figures.paced(paces);
    }
    figures.arrivals_per_second = work.and_then(QueueDepth::arrivals).or_else(|| figures.nothing_comes(work));
    figures.advised(paces.as_deref().unwrap_or_default());
    Figures { queue, ..figures }
}

fn of_queue<'k>(paces: &'k [Measured], queue: &str) -> Vec<&'k Pace> {
    paces.iter().map(|measured| &measured.pace).filter(|pace| pace.queue == queue).collect()
}

impl Figures {
    /// Combines the measurements of the processes.
    fn paced(&mut self, paces: &[&Pace]) {
        self.paused = Some(paces.iter().all(|pace| pace.slots == 0) && self.consumers != Some(0));
        self.handled_per_second = Some(paces.iter().map(|pace| pace.events_per_second).sum());
        self.failures_per_second = Some(paces.iter().map(|pace| pace.failures_per_second).sum());
        // A paused process holds only the message that probes its provider, perhaps for minutes.
        let working: Vec<&Pace> = paces.iter().copied().filter(|pace| pace.slots > 0).collect();
        let measured = if working.is_empty() { paces } else { &working };
        self.processing_seconds = mean(measured, |pace| pace.processing_seconds);
        self.lag_seconds = mean(paces, |pace| pace.lag_seconds);
    }

    /// Returns 0 for an idle queue for which the broker has no rate.
    ///
    /// The broker has no rate for a queue that never received a message, nor if its statistics are off. The queue must
    /// therefore be empty, and handle nothing.
    fn nothing_comes(&self, work: Option<&QueueDepth>) -> Option<f64> {
        let empty = work?.ready == Some(0) && work?.unacknowledged == Some(0);
        (empty && self.handled_per_second.is_none_or(|handled| handled == 0.0)).then_some(0.0)
    }

    fn advised(&mut self, paces: &[&Pace]) {
        let working: Vec<_> = paces.iter().filter(|pace| pace.slots > 0).map(|pace| f64::from(pace.slots)).collect();
        let Some(ready) = self.ready else { return };
        if self.consumers == Some(0) {
            // There is no consumer, so nothing drains, whatever was measured.
            (self.drains, self.drain_seconds) = (Some(ready == 0), (ready == 0).then_some(0.0));
        }
        let Some(arrivals) = self.arrivals_per_second else { return };
        if working.is_empty() {
            return;
        }
        let number = u32::try_from(working.len()).unwrap_or(u32::MAX);
        let nothing_to_do = ready == 0 && arrivals == 0.0;
        // With nothing to do, the processing time does not matter.
        let Some(processing) = self.processing_seconds.or(nothing_to_do.then_some(0.0)) else { return };
        let slots = working.iter().sum::<f64>() / f64::from(number);
        // Paused processes also have a consumer now and then, but do nothing about the backlog.
        let paused = u32::try_from(paces.len().saturating_sub(working.len())).unwrap_or(u32::MAX);
        let processes = self.consumers.map_or(number, |all| all.saturating_sub(paused));
        let measured = capacity::Measured { ready, arrivals, processes, slots, processing };
        self.processes_needed = Some(measured.processes_needed());
        (self.drains, self.drain_seconds) = match measured.drain() {
            Drain::Within(seconds) => (Some(true), Some(seconds)),
            Drain::Never => (Some(false), None),
        };
    }

    /// Returns whether the queue is idle and healthy: it has a consumer, and nothing waits, moves or failed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let none = |number: Option<u32>| number == Some(0);
        let still = |rate: Option<f64>| rate.is_none_or(|rate| rate == 0.0);
        none(self.ready)
            && none(self.unacknowledged)
            && none(self.dead_letters)
            && self.consumers.is_some_and(|consumers| consumers > 0)
            && self.paused != Some(true)
            && self.retries_waiting.is_none_or(|waiting| waiting == 0)
            && [self.arrivals_per_second, self.handled_per_second, self.failures_per_second].into_iter().all(still)
    }

    /// Returns whether the queue has fewer processes than it needs.
    #[must_use]
    pub fn needs_more(&self) -> bool {
        self.processes_needed.zip(self.consumers).is_some_and(|(needed, consumers)| needed > consumers)
    }
}

/// Returns the mean over processes, weighted by their throughput; unweighted if none handled anything.
fn mean(paces: &[&Pace], of: fn(&Pace) -> Option<f64>) -> Option<f64> {
    let weighted = |weight: fn(&Pace) -> f64| {
        let parts = paces.iter().filter_map(|pace| Some((of(pace)?, weight(pace))));
        let (sum, weights) = parts.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
        (weights > 0.0).then(|| sum / weights)
    };
    weighted(|pace| pace.events_per_second).or_else(|| weighted(|_| 1.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::Utc;
    use serde_json::json;

    use super::*;

    const QUEUE: &str = "payment.order-created";

    fn depth(value: serde_json::Value) -> QueueDepth {
        serde_json::from_value(value).expect("it is as the API answers")
    }

    fn work(ready: u32, consumers: u32, arrivals: f64) -> QueueDepth {
        depth(json!({
            "name": QUEUE, "messages_ready": ready, "messages_unacknowledged": 3, "consumers": consumers,
            "message_stats": { "publish_details": { "rate": 0.0, "avg_rate": arrivals } },
        }))
    }

    fn measured(slots: i32, events: f64, processing: Option<f64>) -> Measured {
        let pace = Pace {
            queue: QUEUE.to_owned(),
            slots,
            in_hand: 3,
            events_per_second: events,
            failures_per_second: 0.5,
            processing_seconds: processing,
            lag_seconds: processing,
        };
        Measured { worker: "@host 1".to_owned(), measured_at: Utc::now(), pace }
    }

    fn payment(depths: Option<&[QueueDepth]>, paces: Option<Vec<Measured>>) -> Figures {
        let known =
            paces.map(|paces| Known { paces, retrying: HashMap::from([(QUEUE.to_owned(), 2)]), ..Known::default() });
        figures(depths, known.as_ref()).into_iter().find(|one| one.queue == QUEUE).expect("it is a work queue")
    }

    #[test]
    fn processes_of_a_queue_are_combined() {
        let dead = depth(json!({ "name": "payment.order-created.dlq", "messages_ready": 4 }));
        let paces = vec![measured(512, 30.0, Some(1.0)), measured(512, 10.0, Some(3.0))];
        let found = payment(Some(&[work(6_000, 2, 100.0), dead]), Some(paces));
        assert_eq!((found.ready, found.unacknowledged, found.consumers), (Some(6_000), Some(3), Some(2)));
        assert_eq!((found.dead_letters, found.retries_waiting), (Some(4), Some(2)));
        assert_eq!((found.handled_per_second, found.failures_per_second), (Some(40.0), Some(1.0)));
        // (30 × 1 s + 10 × 3 s) / 40.
        assert_eq!((found.processing_seconds, found.lag_seconds), (Some(1.5), Some(1.5)));
        // (100 + 6,000 / 60) × 1.5 s = 300 slots of 512, at 70% utilisation.
        assert_eq!((found.processes_needed, found.drains), (Some(1), Some(true)));
        // 2 × 512 / 1.5 s = 682.7 a second, less 100 arrivals.
        assert!(found.drain_seconds.is_some_and(|seconds| (seconds - 6_000.0 / 582.667).abs() < 0.01), "{found:?}");
        assert!(!found.needs_more() && !found.is_quiet());
    }

    #[test]
    fn paused_processes_do_not_drain_the_backlog() {
        let paused = || measured(0, 0.1, Some(900.0));
        let found =
            payment(Some(&[work(6_000, 3, 100.0)]), Some(vec![measured(150, 40.0, Some(1.0)), paused(), paused()]));
        // One of three handles 150 a second, less 100 arrivals. The messages that the others hold are not a measure.
        assert_eq!((found.processing_seconds, found.paused), (Some(1.0), Some(false)));
        assert!(found.drain_seconds.is_some_and(|seconds| (seconds - 120.0).abs() < 0.01), "{found:?}");
    }

    #[test]
    fn without_a_measurement_there_is_no_advice() {
        let depths = [work(6_000, 1, 100.0)];
        for paces in [None, Some(vec![]), Some(vec![measured(512, 0.0, None)])] {
            let found = payment(Some(&depths), paces);
            assert_eq!((found.processes_needed, found.drains, found.drain_seconds), (None, None, None));
        }
        let without_broker = payment(None, Some(vec![measured(512, 10.0, Some(1.0))]));
        assert_eq!((without_broker.ready, without_broker.processes_needed), (None, None));
        assert_eq!(without_broker.handled_per_second, Some(10.0));
    }

    #[test]
    fn queue_without_consumers_does_not_drain() {
        let gone = payment(Some(&[work(5, 0, 0.0)]), Some(vec![]));
        assert_eq!((gone.drains, gone.drain_seconds, gone.processes_needed), (Some(false), None, None));
        let uncounted =
            depth(json!({ "name": QUEUE, "messages_ready": 5, "messages_unacknowledged": 0, "consumers": 0 }));
        let uncounted = payment(Some(&[uncounted]), None);
        assert_eq!((uncounted.arrivals_per_second, uncounted.drains), (None, Some(false)), "whatever arrives");
        // The process died a moment ago, and its last report still counts.
        let dead = payment(Some(&[work(5, 0, 0.0)]), Some(vec![measured(512, 10.0, Some(1.0))]));
        assert_eq!((dead.drains, dead.processes_needed, dead.paused), (Some(false), Some(1), Some(false)));
        assert!(dead.needs_more());
    }

    #[test]
    fn paused_queue_gets_no_advice() {
        let found = payment(Some(&[work(90_000, 1, 100.0)]), Some(vec![measured(0, 0.1, Some(20.0))]));
        assert_eq!((found.paused, found.processes_needed, found.drains), (Some(true), None, None));
    }

    #[test]
    fn queue_without_any_message_ever_needs_one_process() {
        let never = depth(json!({ "name": QUEUE, "messages_ready": 0, "messages_unacknowledged": 0, "consumers": 1 }));
        let found = payment(Some(std::slice::from_ref(&never)), Some(vec![measured(512, 0.0, None)]));
        assert_eq!((found.arrivals_per_second, found.processes_needed), (Some(0.0), Some(1)));
        let uncounted = payment(Some(&[never]), Some(vec![measured(512, 9.0, Some(0.1))]));
        assert_eq!(
            (uncounted.arrivals_per_second, uncounted.processes_needed),
            (None, None),
            "the broker counts nothing"
        );
    }
}
