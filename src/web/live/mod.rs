//! Live updates of an order's status, over WebSocket.
//!
//! A watcher gets the state of the database, whichever process it is connected to: first everything that it does not
//! know, then each entry once it is committed. It sends its own position (`after`), so the process keeps nothing about
//! a watcher that has left.

mod frames;
mod hub;
mod message;
mod poll;
mod session;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use orderflow_order::store::order_changes::ChangeNotifier;
use orderflow_service::{
    group_commit::{GroupCommit, Limits, NoAnswer},
    store::{ANSWER_WITHIN, Database},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{
    frames::bounded,
    hub::Full,
    session::{Session, refuse},
};

use self::{
    hub::{Hub, Watcher},
    message::State,
};
use super::problem::{Code, Problem};

/// After a restart, all watchers of another process may connect at the same time. Their orders are read in batches, and
/// two concurrent reads leave the other connections to the placing of orders.
const READING: Limits = Limits { committers: 2, batch: 512, waiting: 8_192, deadline: ANSWER_WITHIN };

/// Seconds until another process has replaced a stopping one, or the database has restarted.
pub const RETRY_SECONDS: u64 = 2;

/// The state shared by all watchers of the process.
#[derive(Debug)]
pub struct Live {
    hub: Hub,
    notifier: ChangeNotifier,
    fresh: GroupCommit<Uuid, Result<Option<Arc<State>>, Code>>,
}

impl Live {
    /// Creates the state for at most `most` watchers. Starts its tasks on the current runtime, until `stop`.
    #[must_use]
    pub fn start(database: Database, most: usize, stop: CancellationToken) -> Self {
        let hub = Hub::new(most);
        tokio::spawn(poll::run(hub.clone(), database.clone(), stop));
        let notifier = ChangeNotifier::start(database.clone());
        let fresh = GroupCommit::start(READING, move |orders| fresh(database.clone(), orders));
        Self { hub, notifier, fresh }
    }

    /// Watches this order from its current state, or returns [`Full`].
    ///
    /// # Errors
    /// 404 for an unknown order, 503 while the database is unavailable.
    pub async fn watch(&self, order: Uuid) -> Result<Result<Watcher, Full>, Problem> {
        // Read again for each watcher, so that it never gets a state older than one it has already seen.
        match self.fresh.submit(order).await {
            Ok(Ok(Some(state))) => Ok(self.hub.watch(state)),
            Ok(Ok(None)) => Err(Problem::order_not_found()),
            Ok(Err(code)) => Err(unreadable(code)),
            Err(NoAnswer::Late) => Err(unreadable(Code::DatabaseUnavailable)),
            Err(NoAnswer::Gone) => Err(unreadable(Code::Internal)),
            Err(NoAnswer::Full) => Ok(Err(Full)),
        }
    }

    /// Announces that this process has just moved the order. Watchers at any process get the change soon.
    pub fn moved(&self, order: Uuid) {
        self.notifier.moved(vec![order]);
    }
}

/// Returns the problem of a failed read, whose cause is already logged.
fn unreadable(code: Code) -> Problem {
    Problem::new(code, "Try again soon.").retry_after(RETRY_SECONDS)
}

/// Reads the state of these orders, in the order of the argument. The cause of a failure is logged once for all.
async fn fresh(database: Database, orders: Vec<Uuid>) -> Vec<Result<Option<Arc<State>>, Code>> {
    let differing: BTreeSet<_> = orders.iter().map(|order| (*order, 0)).collect();
    let differing: Vec<_> = differing.into_iter().collect();
    match poll::read(&database, &differing).await {
        Ok(found) => {
            let found: HashMap<_, _> = found.into_iter().map(|state| (state.order_id, Arc::new(state))).collect();
            orders.iter().map(|order| Ok(found.get(order).cloned())).collect()
        }
        Err(error) => {
            let code = Problem::from(error).code();
            orders.iter().map(|_| Err(code)).collect()
        }
    }
}
