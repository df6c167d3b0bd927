//! An order's status while it moves, by WebSocket.
//!
//! A watcher is told what the database says, whichever process it is connected to: first all that it does not know, then
//! each step as it is committed. Where it was, it says itself (`after`), so nothing is kept of it when it is gone.

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

/// After a restart all watchers of another process may come at once: they are read together, and two looks under way at a
/// time leave the other connections to the orders.
const READING: Limits = Limits { committers: 2, batch: 512, waiting: 8_192, deadline: ANSWER_WITHIN };

/// When another process is there in the place of one that stops, or the database after a restart, in seconds.
pub const RETRY_SECONDS: u64 = 2;

/// What all watchers of the process share.
#[derive(Debug)]
pub struct Live {
    hub: Hub,
    notifier: ChangeNotifier,
    fresh: GroupCommit<Uuid, Result<Option<Arc<State>>, Code>>,
}

impl Live {
    /// For so many watchers. Starts its tasks on the current runtime, until `stop`.
    #[must_use]
    pub fn start(database: Database, most: usize, stop: CancellationToken) -> Self {
        let hub = Hub::new(most);
        tokio::spawn(poll::run(hub.clone(), database.clone(), stop));
        let notifier = ChangeNotifier::start(database.clone());
        let fresh = GroupCommit::start(READING, move |orders| fresh(database.clone(), orders));
        Self { hub, notifier, fresh }
    }

    /// Watches this order from where it is now, or is [`Full`].
    ///
    /// # Errors
    /// 404 without such an order, 503 while the database is away.
    pub async fn watch(&self, order: Uuid) -> Result<Result<Watcher, Full>, Problem> {
        // Read for each watcher, so that it is never told what is older than what it has seen elsewhere.
        match self.fresh.submit(order).await {
            Ok(Ok(Some(state))) => Ok(self.hub.watch(state)),
            Ok(Ok(None)) => Err(Problem::order_not_found()),
            Ok(Err(code)) => Err(unreadable(code)),
            Err(NoAnswer::Late) => Err(unreadable(Code::DatabaseUnavailable)),
            Err(NoAnswer::Gone) => Err(unreadable(Code::Internal)),
            Err(NoAnswer::Full) => Ok(Err(Full)),
        }
    }

    /// This order has just been moved by this process: whoever watches it, here or elsewhere, is told soon.
    pub fn moved(&self, order: Uuid) {
        self.notifier.moved(vec![order]);
    }
}

/// Its cause is in the log.
fn unreadable(code: Code) -> Problem {
    Problem::new(code, "Try again soon.").retry_after(RETRY_SECONDS)
}

/// Where these orders are, in the order of the question. The cause of a failure is logged, once for all.
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
