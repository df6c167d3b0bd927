//! Who watches which order, and of which of them it is worth looking whether they have moved.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orderflow_service::metrics;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::message::State;

/// Watchers of one order at most: a customer with a few devices, each with a few tabs. More are a mistake or worse, and
/// the process's places are for all.
const AN_ORDER: usize = 20;

/// Who watches what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    watched: Mutex<Watched>,
    /// There is a suspect.
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

/// There are as many watchers as there may be, of this order or altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many watch already")]
pub struct Full;

/// One watcher, until it is dropped. However late it looks, what it sees is the newest: nothing is queued for it.
#[derive(Debug)]
pub struct Watcher {
    hub: Hub,
    state: watch::Receiver<Arc<State>>,
}

impl Watcher {
    /// Where the order is now; from here on [`Watcher::changed`] waits for what is newer.
    pub fn now(&mut self) -> Arc<State> {
        Arc::clone(&self.state.borrow_and_update())
    }

    /// Waits until there is something newer.
    pub async fn changed(&mut self) {
        // The hub keeps the other side for as long as anybody watches.
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
    /// A hub for so many watchers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { watched: Mutex::default(), suspected: Notify::new(), most }))
    }

    /// Watches the order that has this state, which was read just now.
    ///
    /// # Errors
    /// [`Full`].
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
        // What was said of it between its reading and now, nobody has heard.
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
        // Who leaves is still counted. Two who leave at the same moment may count each other: see `open`.
        if watched.orders.get(&order).is_some_and(|state| state.receiver_count() <= 1) {
            watched.orders.remove(&order);
            watched.suspects.remove(&order);
        }
    }

    /// These orders may have moved: those of them that are watched are looked at next.
    pub fn suspect(&self, orders: impl IntoIterator<Item = Uuid>) {
        let mut watched = self.watched();
        let Watched { orders: known, suspects, .. } = &mut *watched;
        let before = suspects.len();
        suspects.extend(orders.into_iter().filter(|order| known.contains_key(order)));
        if suspects.len() > before {
            self.0.suspected.notify_one();
        }
    }

    /// What is worth a look, and how far each is as far as we know. From here on it is no suspect any more.
    pub fn suspects(&self) -> Vec<(Uuid, i32)> {
        let mut watched = self.watched();
        let Watched { orders, suspects, .. } = &mut *watched;
        let open = suspects.drain().filter_map(|order| Some((order, orders.get(&order)?.borrow())));
        open.filter(|(_, state)| !state.is_final).map(|(order, state)| (order, state.version)).collect()
    }

    /// Everything that is watched and can still move.
    pub fn open(&self) -> Vec<Uuid> {
        let mut watched = self.watched();
        // Two who left at the same moment counted each other, and so neither put the order away.
        watched.orders.retain(|_, state| state.receiver_count() > 0);
        let open = watched.orders.iter().filter(|(_, state)| !state.borrow().is_final);
        open.map(|(order, _)| *order).collect()
    }

    /// Waits until there is a suspect.
    pub async fn suspected(&self) {
        self.0.suspected.notified().await;
    }

    /// Tells the watchers where these orders are now.
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

/// Two may have read the order at the same time and come here in the other order: what is older is left out.
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
    fn what_is_older_is_never_told() {
        let (hub, order) = (Hub::new(9), Uuid::now_v7());
        let mut first = watch(&hub, order, 2).expect("there is room");
        hub.tell(vec![state(order, 4)]);
        hub.tell(vec![state(order, 3)]);
        assert_eq!(first.now().version, 4);
        // Read before the fourth version was there, and here only now.
        let mut second = watch(&hub, order, 3).expect("there is room");
        assert_eq!((first.now().version, second.now().version), (4, 4));
        // Whoever comes may know more than the last look.
        drop(watch(&hub, order, 5));
        assert_eq!((first.now().version, second.now().version), (5, 5));
    }

    #[test]
    fn only_what_is_watched_is_looked_at() {
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
    fn an_order_that_two_left_at_the_same_moment_is_put_away() {
        let (hub, order) = (Hub::new(9), Uuid::now_v7());
        let state = watch::Sender::new(Arc::new(state(order, 1)));
        hub.watched().orders.insert(order, state);
        assert_eq!(hub.open(), Vec::<Uuid>::new());
        assert!(hub.watched().orders.is_empty());
    }

    #[test]
    fn a_suspect_is_looked_at_once_and_so_is_whoever_is_watched_anew() {
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
    fn there_are_only_so_many_of_an_order_and_altogether() {
        let (hub, order) = (Hub::new(AN_ORDER + 1), Uuid::now_v7());
        let mut watchers: Vec<_> = (0..AN_ORDER).map(|_| watch(&hub, order, 1).expect("there is room")).collect();
        assert_eq!(watch(&hub, order, 1).err(), Some(Full));
        let _last = watch(&hub, Uuid::now_v7(), 1).expect("there is room for another order");
        assert_eq!(watch(&hub, Uuid::now_v7(), 1).err(), Some(Full));
        watchers.pop();
        assert!(watch(&hub, order, 1).is_ok());
    }
}
