//! Finds out which watched orders have moved: it listens to notifications, and reads the orders that they name.
//!
//! A poll is one statement that reads all suspects, the orders that may have moved. Notifications can be lost, so all
//! watched orders become suspects from time to time, and often while the listener is disconnected.

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

/// The wait before a poll, so that one poll covers all orders that move meanwhile: a tenth of a noticeable delay.
const GATHER: Duration = Duration::from_millis(20);

/// The interval at which all watched orders are read while the listener is connected. A watcher waits at most this long
/// for a change whose process ended before it could send the notification.
const SWEEP: Duration = Duration::from_secs(5);

/// The same interval while the listener is disconnected.
const SWEEP_UNHEARING: Duration = Duration::from_millis(100);

/// The number of orders in one part of a sweep. A part takes a few milliseconds, so an order that has moved never waits
/// long behind orders that have not.
const PART: usize = 250;

/// The wait between two parts.
const BETWEEN_PARTS: Duration = Duration::from_millis(50);

/// The wait after a failed poll.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Listens and polls for this hub until `stop`.
pub async fn run(hub: Hub, database: Database, stop: CancellationToken) {
    let (hearing, is_hearing) = watch::channel(false);
    tokio::select! {
        () = hear(&hub, &database, &hearing) => {}
        () = sweep(&hub, is_hearing) => {}
        () = poll(&hub, &database) => {}
        () = stop.cancelled() => {}
    }
}

/// Makes every announced order a suspect, without end. Listens again whenever the connection breaks.
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
        tracing::debug!(
            error = telemetry::chain(&error),
            "the listener for moved orders is disconnected; listening again"
        );
        backoff.wait().await;
    }
}

/// Makes all watched orders suspects at intervals, without end, and immediately when the listener connects or
/// disconnects.
async fn sweep(hub: &Hub, mut is_hearing: watch::Receiver<bool>) {
    loop {
        let interval = if *is_hearing.borrow_and_update() { SWEEP } else { SWEEP_UNHEARING };
        // The sender lives as long as this task, so `changed` cannot fail.
        drop(timeout(interval, is_hearing.changed()).await);
        for part in hub.open().chunks(PART) {
            hub.suspect(part.iter().copied());
            sleep(BETWEEN_PARTS).await;
        }
    }
}

/// Reads suspects, without end; idle while there are none. It uses at most half of one connection's time, however many
/// watchers there are and however slow the database is.
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

/// Logs once that watchers get no updates, and once that they get updates again.
#[derive(Debug, Default)]
struct Reporting {
    is_failing: bool,
}

impl Reporting {
    fn report(&mut self, found: &Result<Vec<State>, StoreError>) {
        match found {
            Ok(_) if self.is_failing => tracing::info!("watchers get updates again"),
            Err(error) if !self.is_failing => {
                let error = telemetry::chain(error);
                tracing::warn!(error, "watchers get no updates: the orders that they watch cannot be read");
            }
            _ => {}
        }
        self.is_failing = found.is_err();
    }
}

/// Returns the orders that are newer than the given version. Ids must be unique.
///
/// # Errors
/// Returns database errors.
pub async fn read(database: &Database, known: &[(Uuid, i32)]) -> Result<Vec<State>, StoreError> {
    let reading = async |connection: &mut Connection| progress::beyond(connection, known).await;
    let found = database.run(ANSWER_WITHIN, reading).await?;
    Ok(found.into_iter().map(State::new).collect())
}
