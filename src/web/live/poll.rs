//! How the process finds out which watched orders have moved: it hears what is said of them, and looks at those.
//!
//! A look is one statement, whatever their number, at the orders that are suspected to have moved. Since what is said may be
//! lost, all of them are suspect now and then; and often, while nothing is heard.

use std::time::Duration;

use orderflow_order::store::order_changes::Listener;
use orderflow_service::{
    Backoff, metrics,
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
    telemetry,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{hub::Hub, message::State};
use crate::store::progress;

/// The wait before a look, so that one look is for all that moves in that time: a tenth of what a person takes to notice.
const GATHER: Duration = Duration::from_millis(20);

/// How often everything is looked at while we hear what moves: so long a watcher waits at most for a move that nobody
/// announced, because the process that made it ended in the same moment.
const SWEEP: Duration = Duration::from_secs(5);

/// How often while we hear nothing.
const SWEEP_UNHEARING: Duration = Duration::from_millis(100);

/// A look at everything is made in parts of so many orders, a few milliseconds each, so that what has moved never waits for
/// long behind what has not.
const PART: usize = 250;

/// The wait between two parts.
const BETWEEN_PARTS: Duration = Duration::from_millis(50);

/// The wait after a look that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Hears and looks for this hub until `stop`.
pub async fn run(hub: Hub, database: Database, stop: CancellationToken) {
    let (hearing, is_hearing) = watch::channel(false);
    tokio::select! {
        () = hear(&hub, &database, &hearing) => {}
        () = sweep(&hub, is_hearing) => {}
        () = poll(&hub, &database) => {}
        () = stop.cancelled() => {}
    }
}

/// For ever: what is said to have moved is suspect. Listens anew whenever the connection breaks.
async fn hear(hub: &Hub, database: &Database, hearing: &watch::Sender<bool>) {
    let mut backoff = Backoff::default();
    loop {
        let error = match Listener::open(database).await {
            Ok(listener) => {
                backoff = Backoff::default();
                hearing.send_replace(true);
                let error = listener.listen(|orders| hub.suspect(orders)).await;
                hearing.send_replace(false);
                error
            }
            Err(error) => error,
        };
        tracing::debug!(error = telemetry::chain(&error), "nothing is heard of what moves; listening again");
        backoff.wait().await;
    }
}

/// For ever: now and then everything is suspect, and at once when we begin to hear or cease to.
async fn sweep(hub: &Hub, mut is_hearing: watch::Receiver<bool>) {
    loop {
        let interval = if *is_hearing.borrow_and_update() { SWEEP } else { SWEEP_UNHEARING };
        // Its other side lives as long as we do.
        drop(timeout(interval, is_hearing.changed()).await);
        for part in hub.open().chunks(PART) {
            hub.suspect(part.iter().copied());
            sleep(BETWEEN_PARTS).await;
        }
    }
}

/// For ever: looks at suspects, and at nothing while there are none. It takes half of one connection at most, however many
/// watch and however slow the database is.
async fn poll(hub: &Hub, database: &Database) {
    let mut reporting = Reporting::default();
    loop {
        let known = hub.suspects();
        if known.is_empty() {
            hub.suspected().await;
            sleep(GATHER).await;
            continue;
        }
        let began = Instant::now();
        let found = read(database, &known).await;
        let took = began.elapsed();
        metrics::get().live.polled(took);
        reporting.report(&found);
        match found {
            Ok(news) => {
                hub.tell(news);
                sleep(took.max(GATHER)).await;
            }
            Err(_) => {
                hub.suspect(known.into_iter().map(|(order, _)| order));
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Says once that watchers are told nothing, and once that they are told again.
#[derive(Debug, Default)]
struct Reporting {
    is_failing: bool,
}

impl Reporting {
    fn report(&mut self, found: &Result<Vec<State>, StoreError>) {
        match found {
            Ok(_) if self.is_failing => tracing::info!("watchers are told again"),
            Err(error) if !self.is_failing => {
                let error = telemetry::chain(error);
                tracing::warn!(error, "watchers are told nothing: the orders that they watch cannot be read");
            }
            _ => {}
        }
        self.is_failing = found.is_err();
    }
}

/// Those of these orders, which differ, that are beyond these versions.
///
/// # Errors
/// Those of the database.
pub async fn read(database: &Database, known: &[(Uuid, i32)]) -> Result<Vec<State>, StoreError> {
    let reading = async |connection: &mut Connection| progress::beyond(connection, known).await;
    let found = database.run(ANSWER_WITHIN, reading).await?;
    Ok(found.into_iter().map(State::new).collect())
}
