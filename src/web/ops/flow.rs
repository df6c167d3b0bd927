//! How it went in the last minutes: a bounded ring of looks at orders and queues, taken while somebody watches. Nobody
//! watching costs nothing.

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

/// Between two looks.
pub const EVERY: Duration = Duration::from_secs(2);

/// Looks that are kept: five minutes.
const KEPT: usize = 150;

/// How long it goes on after somebody last looked at the page: longer than a page that does not refresh by itself is left
/// alone by one who watches.
const WATCHED_FOR: Duration = Duration::from_secs(120);

/// What a look may take; who watches wants to know soon that one does not answer.
const WITHIN: Duration = Duration::from_secs(3);

/// One look.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was begun.
    pub at: Instant,
    /// Orders a second; none while the database is away.
    pub orders: Option<OrderRates>,
    /// Every queue, as far as known.
    pub queues: Vec<Figures>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Of which nothing is known.
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

    /// Looks as long as somebody watches, until `stop`.
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
        // A gap is no line.
        if state.samples.back().is_some_and(|last| last.at.elapsed() > 5 * EVERY) {
            state.samples.clear();
        }
        state.samples.push_back(sample);
        while state.samples.len() > KEPT {
            state.samples.pop_front();
        }
    }

    /// What is known now, the oldest first; never empty. Looks itself where nobody has for a while.
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
    // What is wrong with the database the queues say already.
    let orders: Result<OrderRates, StoreError> = orders;
    Sample { at, orders: orders.ok(), queues, unavailable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_ring_is_bounded_and_begins_anew_after_a_gap() {
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
