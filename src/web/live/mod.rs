//! `GET /orders/{id}/live?after=N`: an order's status while it moves, by WebSocket.
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

use actix_web::{
    HttpRequest, HttpResponse, rt,
    web::{Data, Payload},
};
use orderflow_order::store::order_changes::ChangeNotifier;
use orderflow_service::{
    group_commit::{GroupCommit, Limits, NoAnswer},
    store::{ANSWER_WITHIN, Database},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{hub::Hub, message::State, session::Session};
use super::{
    app::App,
    auth,
    problem::{Code, Problem},
    request_id, timeline,
};

/// After a restart all watchers of another process may come at once: they are read together, and two looks under way at a
/// time leave the other connections to the orders.
const READING: Limits = Limits { committers: 2, batch: 512, waiting: 8_192, deadline: ANSWER_WITHIN };

/// When another process is there in the place of one that stops, or the database after a restart, in seconds.
const RETRY_SECONDS: u64 = 2;

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

    /// This order has just been moved by this process: whoever watches it, here or elsewhere, is told soon.
    pub fn moved(&self, order: Uuid) {
        self.notifier.moved(vec![order]);
    }
}

/// Tells the watcher all that it does not know, and then each step.
///
/// Beyond the bounds it is told so by its socket, since a browser's script sees no status of a handshake.
///
/// # Errors
/// 404 without the order's token, 400 for an `after` that is no version, 426 for what is no handshake, 503 while the
/// database is away and while stopping.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let after = timeline::after(request.query_string())?;
    let payload = frames::bounded(&request, payload).await.map_err(|_| Problem::upgrade_required())?;
    let (response, socket, incoming) = actix_ws::handle(&request, payload).map_err(|_| Problem::upgrade_required())?;
    if app.stop.is_cancelled() {
        let problem = Problem::new(Code::NotReady, "Stopping: connect again, another process takes over.");
        return Err(problem.retry_after(RETRY_SECONDS));
    }
    // Read for each watcher, so that it is never told what is older than what it has seen elsewhere.
    let state = match app.live.fresh.submit(id).await {
        Ok(Ok(found)) => found.ok_or_else(Problem::order_not_found)?,
        Ok(Err(code)) => return Err(unreadable(code)),
        Err(NoAnswer::Late) => return Err(unreadable(Code::DatabaseUnavailable)),
        Err(NoAnswer::Gone) => return Err(unreadable(Code::Internal)),
        Err(NoAnswer::Full) => {
            rt::spawn(session::refuse(socket, incoming));
            return Ok(response);
        }
    };
    match app.live.hub.watch(state) {
        Ok(watcher) => {
            let session = Session::new(request_id::of(&request), socket, incoming, watcher, after);
            rt::spawn(session.run(app.stop.clone()))
        }
        Err(hub::Full) => rt::spawn(session::refuse(socket, incoming)),
    };
    Ok(response)
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
