//! Reports to the database how fast this process works each of its queues, for `orderflow queues` and `orderflow top`.
//! Runs in the background: one statement every ten seconds, and no event ever waits for it.

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

/// The time between two reports, give or take a tenth.
const INTERVAL: Duration = Duration::from_secs(10);

/// A report that takes longer is useless: the next one is due.
const WITHIN: Duration = Duration::from_secs(5);

/// The number of reports that rates and means cover: half a minute's worth.
const WINDOW: usize = 3;

/// Reports the pace of one process.
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
    /// Returns the reporter of this process and these queues.
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

    /// Runs until the process stops, then deletes its rows.
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
                        tracing::warn!(error, "the pace of the queues could not be recorded; trying again");
                    }
                    failing = true;
                }
            }
        }
        let worker = &self.worker;
        let forgetting = async |connection: &mut Connection| pace::forget(connection, worker).await;
        // If this fails, readers trust the rows for up to another minute.
        let _ = self.database.run(WITHIN, forgetting).await;
    }

    /// Writes one report. If that fails, the window still advances.
    async fn report(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let paces: Vec<Pace> = self.queues.iter_mut().map(|queue| queue.pace(now)).collect();
        let worker = &self.worker;
        let writing = async |connection: &mut Connection| pace::write(connection, worker, &paces).await;
        self.database.run(WITHIN, writing).await
    }
}

/// Returns a name that no other process ever had: in containers all have the same process id.
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

/// The last tallies, oldest first: at least one, at most [`WINDOW`].
struct Window {
    tallies: VecDeque<(Instant, Tally)>,
    processing_seconds: Option<f64>,
}

/// The rates and means of the window.
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

    /// Adds a tally. While nothing is handled, the mean time in hand keeps its last value: an idle queue is not a
    /// faster one.
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
        assert_eq!((seen.events_per_second, seen.processing_seconds), (0.0, Some(0.05)), "the last measured mean");
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
        assert_eq!(window.see(start, Tally::default()), nothing, "not even time has passed");
        let failed = Tally { failures: 5, first_attempts: 2, lag_seconds: 3.0, ..Tally::default() };
        let seen = window.see(start + INTERVAL, failed);
        assert_eq!((seen.failures_per_second, seen.lag_seconds, seen.processing_seconds), (0.5, Some(1.5), None));
    }
}
