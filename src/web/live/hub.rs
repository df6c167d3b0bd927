//! The watchers of each order, and the suspects: the orders that may have moved.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orderflow_service::metrics;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::message::State;

/// The most watchers of one order: a customer with a few devices, each with a few tabs. More are a mistake or an
/// attack, and would take places from other orders.
const AN_ORDER: usize = 20;

/// The watchers of each order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    watched: Mutex<Watched>,
    /// Signals that there is a suspect.
    suspected: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct Watched {
    orders: HashMap<Uuid, watch::Sender<Arc<State>>>,
    watchers: usize,
    /// Watched orders that may have moved since they were last read.
    suspects: HashSet<Uuid>,
}

/// The limit of watchers is reached, for this order or in total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of watchers is reached")]
pub struct Full;

/// One watcher, until it is dropped. Nothing is queued for it: however late it reads, it sees the newest state.
#[derive(Debug)]
pub struct Watcher {
    hub: Hub,
    state: watch::Receiver<Arc<State>>,
}

impl Watcher {
    /// Returns the current state. From then on [`Watcher::changed`] waits for a newer one.
    pub fn now(&mut self) -> Arc<State> {
        Arc::clone(&self.state.borrow_and_update())
    }

    /// Waits until there is a newer state.
    pub async fn changed(&mut self) {
        // The hub keeps the sender as long as there is a watcher, so `changed` cannot fail.
        drop(self.state.changed().await);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let order = self.state.borrow().order_id;
        self.hub.leave(order);
    }
}

impl Hub {
    /// Creates a hub for at most `most` watchers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { watched: Mutex::default(), suspected: Notify::new(), most }))
    }

    /// Adds a watcher of the order with this state, which was read just now.
    ///
    /// # Errors
    /// Returns [`Full`].
    pub fn watch(&self, fresh: Arc<State>) -> Result<Watcher, Full> {
        let mut watched = self.watched();
        if watched.watchers >= self.0.most {
            return Err(Full);
        }
        let state = match watched.orders.entry(fresh.order_id) {
            Entry::Vacant(vacant) => vacant.insert(watch::Sender::new(fresh)).subscribe(),
            Entry::Occupied(known) if known.get().receiver_count() >= AN_ORDER => return Err(Full),
            Entry::Occupied(known) => {
                tell(known.get(), fresh);
                known.get().subscribe()
            }
        };
        watched.watchers += 1;
        // A notification between the read and now would have been ignored, so the order is a suspect.
        if !state.borrow().is_final {
            watched.suspects.insert(state.borrow().order_id);
        }
        metrics::get().live.watching(watched.watchers);
        drop(watched);
        self.0.suspected.notify_one();
        Ok(Watcher { hub: self.clone(), state })
    }

    fn leave(&self, order: Uuid) {
        let mut watched = self.watched();
        watched.watchers = watched.watchers.saturating_sub(1);
        metrics::get().live.watching(watched.watchers);
        // The leaving watcher is still counted. Two that leave at the same moment may count each other: see `open`.
        if watched.orders.get(&order).is_some_and(|state| state.receiver_count() <= 1) {
            watched.orders.remove(&order);
            watched.suspects.remove(&order);
        }
    }

    /// Marks those of these orders that are watched as suspects.
    pub fn suspect(&self, orders: impl IntoIterator<Item = Uuid>) {
        let mut watched = self.watched();
        let Watched { orders: known, suspects, .. } = &mut *watched;
        let before = suspects.len();
        suspects.extend(orders.into_iter().filter(|order| known.contains_key(order)));
        if suspects.len() > before {
            self.0.suspected.notify_one();
        }
    }

    /// Returns the suspects with the newest known version of each, and clears them.
    pub fn suspects(&self) -> Vec<(Uuid, i32)> {
        let mut watched = self.watched();
        let Watched { orders, suspects, .. } = &mut *watched;
        let open = suspects.drain().filter_map(|order| Some((order, orders.get(&order)?.borrow())));
        open.filter(|(_, state)| !state.is_final).map(|(order, state)| (order, state.version)).collect()
    }

    /// Returns every watched order that can still move.
    pub fn open(&self) -> Vec<Uuid> {
        let mut watched = self.watched();
        // If two watchers left at the same moment, each counted the other, and neither removed the order.
        watched.orders.retain(|_, state| state.receiver_count() > 0);
        let open = watched.orders.iter().filter(|(_, state)| !state.borrow().is_final);
        open.map(|(order, _)| *order).collect()
    }

    /// Waits until there is a suspect.
    pub async fn suspected(&self) {
        self.0.suspected.notified().await;
    }

    /// Passes these states to the orders' watchers.
    pub fn tell(&self, news: Vec<State>) {
        let watched = self.watched();
        for state in news {
            if let Some(known) = watched.orders.get(&state.order_id) {
                tell(known, Arc::new(state));
            }
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on a state if it is newer. Two readers may read an order at the same time and arrive here in reverse order.
fn tell(known: &watch::Sender<Arc<State>>, state: Arc<State>) {
    known.send_if_modified(|current| {
        let is_newer = state.version > current.version;
        if is_newer {
            *current = state;
        }
        is_newer
    });
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::store::progress::Progress;

    fn state(order_id: Uuid, version: i32) -> State {
        State::new(Progress {
            order_id,
            status: "pending".to_owned(),
            version,
            cancel_requested: false,
            updated_at: DateTime::UNIX_EPOCH,
            age: 0.0,
            steps: Vec::new(),
        })
    }

    fn watch(hub: &Hub, order: Uuid, version: i32) -> Result<Watcher, Full> {
        hub.watch(Arc::new(state(order, version)))
    }

    #[test]
    fn an_older_state_is_never_passed_on() {
        let (hub, order) = (Hub::new(9), Uuid::now_v7());
        let mut first = watch(&hub, order, 2).expect("there is room");
        hub.tell(vec![state(order, 4)]);
        hub.tell(vec![state(order, 3)]);
        assert_eq!(first.now().version, 4);
        // Read before the fourth version existed, but added only now.
        let mut second = watch(&hub, order, 3).expect("there is room");
        assert_eq!((first.now().version, second.now().version), (4, 4));
        // A new watcher's read may be newer than the last poll.
        drop(watch(&hub, order, 5));
        assert_eq!((first.now().version, second.now().version), (5, 5));
    }

    #[test]
    fn only_watched_orders_are_read() {
        let (hub, one, other) = (Hub::new(9), Uuid::now_v7(), Uuid::now_v7());
        let watchers = [one, other, other].map(|order| watch(&hub, order, 1).expect("there is room"));
        let mut open = hub.open();
        open.sort_unstable();
        assert_eq!(open, [one, other]);
        let [first, second, third] = watchers;
        drop((first, second));
        hub.suspect([one, other, Uuid::now_v7()]);
        assert_eq!(hub.suspects(), [(other, 1)]);
        assert_eq!(hub.open(), [other]);
        drop(third);
        assert_eq!((hub.open(), hub.watched().watchers), (vec![], 0));
    }

    #[test]
    fn an_order_that_two_watchers_left_at_the_same_moment_is_removed() {
        let (hub, order) = (Hub::new(9), Uuid::now_v7());
        let state = watch::Sender::new(Arc::new(state(order, 1)));
        hub.watched().orders.insert(order, state);
        assert_eq!(hub.open(), Vec::<Uuid>::new());
        assert!(hub.watched().orders.is_empty());
    }

    #[test]
    fn a_suspect_and_a_newly_watched_order_are_each_read_once() {
        let (hub, order) = (Hub::new(9), Uuid::now_v7());
        let _watcher = watch(&hub, order, 1).expect("there is room");
        assert_eq!(hub.suspects(), [(order, 1)]);
        assert_eq!(hub.suspects(), []);
        hub.tell(vec![state(order, 3)]);
        hub.suspect([order, order]);
        assert_eq!(hub.suspects(), [(order, 3)]);
        assert_eq!(hub.suspects(), []);
    }

    #[test]
    fn watchers_are_limited_per_order_and_in_total() {
        let (hub, order) = (Hub::new(AN_ORDER + 1), Uuid::now_v7());
        let mut watchers: Vec<_> = (0..AN_ORDER).map(|_| watch(&hub, order, 1).expect("there is room")).collect();
        assert_eq!(watch(&hub, order, 1).err(), Some(Full));
        let _last = watch(&hub, Uuid::now_v7(), 1).expect("there is room for another order");
        assert_eq!(watch(&hub, Uuid::now_v7(), 1).err(), Some(Full));
        watchers.pop();
        assert!(watch(&hub, order, 1).is_ok());
    }
}
