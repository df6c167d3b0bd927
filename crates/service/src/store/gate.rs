//! Limits how many database connections may be in use at the same time: as many as the pool may have, and fewer while
//! PostgreSQL refuses more.
//!
//! The pool itself would return an error to callers beyond what PostgreSQL allows. Here they wait for a free
//! connection.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How long to work with fewer connections before trying more, since whatever took them may have ended. Each try costs
/// PostgreSQL a process.
const TRY_MORE_AFTER: Duration = Duration::from_secs(5);

/// After this long without a refusal, the next one is logged again.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// The right to use one connection, held as long as it is in use.
pub(super) type Turn = OwnedSemaphorePermit;

/// Grants the turns.
#[derive(Debug)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    /// The number of turns withheld.
    withheld: usize,
    last: Option<Instant>,
}

impl Gate {
    pub(super) fn new(size: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(size)), size, waiting: AtomicUsize::new(0), refused: Mutex::default() }
    }

    /// Returns how many callers wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a turn; `None` after the deadline.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<Turn> {
        self.try_more();
        let _waits = Waits::count(&self.waiting);
        tokio::time::timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()
    }

    /// Records that PostgreSQL refused a connection for this turn. Withholds the turn for a while, unless it is the
    /// only one. Returns how many are left, and whether to log that.
    pub(super) fn withhold(&self, turn: Turn) -> (usize, bool) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = refused.last.is_none_or(|last| last.elapsed() > TOLD_FOR);
        refused.last = Some(Instant::now());
        if refused.withheld + 1 < self.size {
            refused.withheld += 1;
            turn.forget();
        }
        (self.size - refused.withheld, is_news)
    }

    /// Returns whether turns are withheld because PostgreSQL refused connections.
    pub(super) fn is_shrunk(&self) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).withheld > 0
    }

    /// Releases half of the withheld turns, some time after the last refusal.
    fn try_more(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.withheld > 0 && refused.last.is_none_or(|last| last.elapsed() > TRY_MORE_AFTER) {
            let more = refused.withheld.div_ceil(2);
            refused.withheld -= more;
            refused.last = Some(Instant::now());
            self.turns.add_permits(more);
        }
    }
}

/// Counts a waiting caller until it is dropped.
struct Waits<'g>(&'g AtomicUsize);

impl<'g> Waits<'g> {
    fn count(waiting: &'g AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connections_shrink_the_gate_and_time_opens_it_again() {
        let gate = Gate::new(3);
        let held = gate.turn(soon()).await.expect("the first");
        let (left, is_news) = gate.withhold(gate.turn(soon()).await.expect("the second"));
        assert_eq!((left, is_news), (2, true));
        let (left, is_news) = gate.withhold(gate.turn(soon()).await.expect("the third"));
        assert_eq!((left, is_news), (1, false), "logged once");
        assert!(gate.turn(soon()).await.is_none() && gate.is_shrunk(), "the only connection is in use");
        drop(held);
        assert!(gate.turn(soon()).await.is_some());
        tokio::time::advance(TRY_MORE_AFTER + Duration::from_secs(1)).await;
        let both = (gate.turn(soon()).await, gate.turn(soon()).await);
        assert!(both.0.is_some() && both.1.is_some());
        assert!(gate.turn(soon()).await.is_none(), "half of the withheld turns are released first");
    }

    #[tokio::test(start_paused = true)]
    async fn last_turn_is_never_withheld() {
        let gate = Gate::new(1);
        for _ in 0..3 {
            let turn = gate.turn(soon()).await.expect("there is one");
            assert_eq!(gate.withhold(turn).0, 1);
        }
    }
}
