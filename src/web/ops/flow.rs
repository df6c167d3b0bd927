//! The figures of the last minutes: a bounded ring of samples of orders and queues. Samples are taken only while the
//! page is open, so an unused console costs nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orderflow_service::store::{Connection, Database, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    ops::queues::{self, figures::Figures, inspect::Broker},
    store::flow::{self, OrderRates},
};

/// The time between two samples.
pub const EVERY: Duration = Duration::from_secs(2);

/// How many samples are kept: five minutes' worth.
const KEPT: usize = 150;

/// How long sampling continues after the last request for the page. An operator without JavaScript, who reloads the
/// page by hand, does so more often than that.
const WATCHED_FOR: Duration = Duration::from_secs(120);

/// How long a sample may take: an operator must soon see that the database or the broker does not answer.
const WITHIN: Duration = Duration::from_secs(3);

/// The figures at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When the sample was started.
    pub at: Instant,
    /// Orders per second; `None` while the database is unavailable.
    pub orders: Option<OrderRates>,
    /// Every queue, as far as known.
    pub queues: Vec<Figures>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// A sample without any figures.
impl Default for Sample {
    fn default() -> Self {
        Self { at: Instant::now(), orders: None, queues: Vec::new(), unavailable: Vec::new() }
    }
}

/// The ring. Cheap to clone.
#[derive(Clone, Default)]
pub struct Flow(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    samples: VecDeque<Sample>,
    watched: Option<Instant>,
}

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples while the page is open, until `stop`.
    pub async fn run(self, database: Database, broker: Option<Broker>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if self.state().watched.is_some_and(|watched| watched.elapsed() < WATCHED_FOR) {
                self.add(take(&database, broker.as_ref()).await);
            }
        }
    }

    fn add(&self, sample: Sample) {
        let mut state = self.state();
        // A line must not be drawn across a gap.
        if state.samples.back().is_some_and(|last| last.at.elapsed() > 5 * EVERY) {
            state.samples.clear();
        }
        state.samples.push_back(sample);
        while state.samples.len() > KEPT {
            state.samples.pop_front();
        }
    }

    /// Returns the samples, oldest first; never empty. Takes one itself if the newest is too old.
    pub async fn watch(&self, database: &Database, broker: Option<&Broker>) -> Vec<Sample> {
        let is_fresh = {
            let mut state = self.state();
            state.watched = Some(Instant::now());
            state.samples.back().is_some_and(|last| last.at.elapsed() < 3 * EVERY / 2)
        };
        if !is_fresh {
            self.add(take(database, broker).await);
        }
        self.state().samples.iter().cloned().collect()
    }
}

async fn take(database: &Database, broker: Option<&Broker>) -> Sample {
    let asking = async |connection: &mut Connection| flow::rates(connection).await;
    let at = Instant::now();
    let (orders, queues::Queues { figures: queues, unavailable, .. }) =
        tokio::join!(database.run(WITHIN, asking), queues::read(broker, database, WITHIN));
    // The queues already report problems with the database.
    let orders: Result<OrderRates, StoreError> = orders;
    Sample { at, orders: orders.ok(), queues, unavailable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_ring_is_bounded_and_starts_again_after_a_gap() {
        let flow = Flow::default();
        for _ in 0..KEPT + 10 {
            flow.add(Sample::default());
        }
        assert_eq!(flow.state().samples.len(), KEPT);
        tokio::time::advance(11 * EVERY).await;
        flow.add(Sample::default());
        assert_eq!(flow.state().samples.len(), 1);
    }
}
