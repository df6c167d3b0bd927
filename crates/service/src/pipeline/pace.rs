//! Tells the database how fast this process goes through each of its queues, for `orderflow queues` and `orderflow top`.
//! Behind everything else's back: one statement every ten seconds, and no event ever waits for it.

use std::{collections::VecDeque, time::Duration};

use rand::RngExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{self, QueueMetrics, Tally},
    pipeline::worker_context::WorkerContext,
    process_identity,
    store::{
        Connection, Database, StoreError,
        pace::{self, Pace},
    },
    telemetry,
};

/// Between two reports, give or take a tenth.
const INTERVAL: Duration = Duration::from_secs(10);

/// A report that takes longer is of no use any more: the next one is due.
const WITHIN: Duration = Duration::from_secs(5);

/// Reports that rates and means go back: half a minute.
const WINDOW: usize = 3;

/// One for each process.
pub struct Reporter {
    database: Database,
    stop: CancellationToken,
    worker: String,
    queues: Vec<Queue>,
}

struct Queue {
    name: String,
    metrics: QueueMetrics,
    window: Window,
}

impl Reporter {
    /// For this process and these queues.
    #[must_use]
    pub fn new(process: &WorkerContext, queues: impl Iterator<Item = String>) -> Self {
        let queue = |name: String| {
            let metrics = metrics::of_queue(&name);
            let window = Window::new(Instant::now(), metrics.tally());
            Queue { name, metrics, window }
        };
        Self {
            database: process.database.clone(),
            stop: process.stop.clone(),
            worker: name(),
            queues: queues.map(queue).collect(),
        }
    }

    /// Runs until the process stops, and then takes back what it wrote.
    pub async fn run(mut self) {
        let mut failing = false;
        loop {
            let pause = INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => break,
            }
            match self.report().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        let error = telemetry::chain(&error);
                        tracing::warn!(error, "how fast the queues are worked could not be written down; trying again");
                    }
                    failing = true;
                }
            }
        }
        let worker = &self.worker;
        let forgetting = async |connection: &mut Connection| pace::forget(connection, worker).await;
        // Without it the rows are believed for another minute.
        let _ = self.database.run(WITHIN, forgetting).await;
    }

    /// One report. Where it cannot be written the window goes on all the same.
    async fn report(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let paces: Vec<Pace> = self.queues.iter_mut().map(|queue| queue.pace(now)).collect();
        let worker = &self.worker;
        let writing = async |connection: &mut Connection| pace::write(connection, worker, &paces).await;
        self.database.run(WITHIN, writing).await
    }
}

/// This process among all that there ever were: in containers they all have the same process id.
fn name() -> String {
    format!("{} {:08x}", process_identity::place(), rand::rng().random::<u32>())
}

impl Queue {
    fn pace(&mut self, now: Instant) -> Pace {
        let tally = self.metrics.tally();
        let seen = self.window.see(now, tally);
        let whole = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
        Pace {
            queue: self.name.clone(),
            slots: whole(tally.slots),
            in_hand: whole(tally.in_hand),
            events_per_second: seen.events_per_second,
            failures_per_second: seen.failures_per_second,
            processing_seconds: seen.processing_seconds,
            lag_seconds: seen.lag_seconds,
        }
    }
}

/// The last tallies, the oldest first: at least one, at most [`WINDOW`].
struct Window {
    tallies: VecDeque<(Instant, Tally)>,
    processing_seconds: Option<f64>,
}

/// What the window shows.
#[derive(Debug, PartialEq)]
struct Seen {
    events_per_second: f64,
    failures_per_second: f64,
    processing_seconds: Option<f64>,
    lag_seconds: Option<f64>,
}

impl Window {
    fn new(now: Instant, tally: Tally) -> Self {
        Self { tallies: [(now, tally)].into(), processing_seconds: None }
    }

    /// Takes a tally in. The mean time in hand stays what it last was while nothing is handled: a queue that has little to
    /// do is no faster for that.
    fn see(&mut self, now: Instant, tally: Tally) -> Seen {
        let (since, before) = self.tallies.front().copied().unwrap_or((now, tally));
        if self.tallies.len() >= WINDOW {
            self.tallies.pop_front();
        }
        self.tallies.push_back((now, tally));
        let seconds = now.duration_since(since).as_secs_f64();
        let settled = number(tally.settled.saturating_sub(before.settled));
        let failures = number(tally.failures.saturating_sub(before.failures));
        let first_attempts = number(tally.first_attempts.saturating_sub(before.first_attempts));
        let processing = mean(tally.processing_seconds - before.processing_seconds, settled);
        self.processing_seconds = processing.or(self.processing_seconds);
        Seen {
            events_per_second: mean(settled, seconds).unwrap_or_default(),
            failures_per_second: mean(failures, seconds).unwrap_or_default(),
            processing_seconds: self.processing_seconds,
            lag_seconds: mean(tally.lag_seconds - before.lag_seconds, first_attempts),
        }
    }
}

fn mean(sum: f64, number: f64) -> Option<f64> {
    (number > 0.0).then(|| sum / number)
}

fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(settled: u64, processing_seconds: f64) -> Tally {
        Tally { settled, processing_seconds, ..Tally::default() }
    }

    #[test]
    fn rates_and_means_are_those_of_the_last_half_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(start, tally(1_000, 50.0));
        let seen = window.see(at(10), tally(1_100, 55.0));
        assert_eq!((seen.events_per_second, seen.processing_seconds), (10.0, Some(0.05)));
        window.see(at(20), tally(1_100, 55.0));
        let seen = window.see(at(30), tally(1_100, 55.0));
        assert_eq!(seen.events_per_second, 100.0 / 30.0, "the first is still in the window");
        let seen = window.see(at(40), tally(1_100, 55.0));
        assert_eq!((seen.events_per_second, seen.processing_seconds), (0.0, Some(0.05)), "the last that was measured");
        let seen = window.see(at(50), tally(1_130, 61.0));
        assert_eq!((seen.events_per_second, seen.processing_seconds), (1.0, Some(0.2)));
        assert_eq!(window.tallies.len(), WINDOW);
    }

    #[test]
    fn what_never_happened_has_no_mean() {
        let start = Instant::now();
        let mut window = Window::new(start, Tally::default());
        let nothing =
            Seen { events_per_second: 0.0, failures_per_second: 0.0, processing_seconds: None, lag_seconds: None };
        assert_eq!(window.see(start, Tally::default()), nothing, "not even time");
        let failed = Tally { failures: 5, first_attempts: 2, lag_seconds: 3.0, ..Tally::default() };
        let seen = window.see(start + INTERVAL, failed);
        assert_eq!((seen.failures_per_second, seen.lag_seconds, seen.processing_seconds), (0.5, Some(1.5), None));
    }
}
