//! Moves events from the outbox to the broker.
//!
//! Fast path: the process that committed events publishes them immediately. Slow path: a loop in every process leases
//! rows that are due because a fast path failed, of the services that the process runs. Both publish with confirms and
//! delete the row only after the confirm. So every event is published at least once, whatever fails in between;
//! consumers recognise a repetition by the event's id.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use rand::RngExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{Message, Publisher, names};
use crate::{
    Roster, Subscription,
    fault::{self, CrashPoint, Safeguard},
    metrics,
    store::{
        ANSWER_WITHIN, Connection, Database, StoreError,
        outbox::{self, Outgoing},
    },
    telemetry,
    trace::{About, Kind, Span},
};

/// The most rows that this process may have handed over without a confirm. Beyond it the fast path accepts no more and
/// consumers pause: the outbox keeps the rest.
const UNCONFIRMED: usize = 10_000;

/// Rows that the loop leases in one step.
const LEASE: i64 = 500;

/// The time between two steps of the loop, give or take half.
const INTERVAL: Duration = Duration::from_secs(1);

/// The most rows deleted by one statement.
const DELETE: usize = 2_000;

/// The wait between two deletions. Without this wait, each event would cost another transaction under small loads. It
/// is far shorter than the 10 seconds after which a row becomes due.
const GATHER: Duration = Duration::from_millis(50);

/// The services whose outbox rows a process publishes: only those that it runs, since it may publish nothing else.
#[derive(Debug, Clone)]
pub enum Relayed {
    /// All services, including those that this program does not know.
    Everything,
    /// These services of this roster.
    Of(Roster, BTreeSet<&'static str>),
}

impl Relayed {
    /// Returns the services of a worker that consumes these subscriptions.
    #[must_use]
    pub fn by(roster: &Roster, consumed: &[Subscription]) -> Self {
        if roster.is_shop(consumed) {
            return Self::Everything;
        }
        Self::Of(roster.clone(), consumed.iter().map(|subscription| subscription.service()).collect())
    }

    fn includes(&self, event: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Of(roster, services) => services.contains(roster.owner(event)),
        }
    }
}

/// The outcome of one step of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayedBatch {
    /// Rows that were leased.
    pub rows: i64,
    /// How many of their events the broker confirmed.
    pub confirmed: i64,
}

/// A handle for publishing this process's events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    relayed: Arc<Relayed>,
    publisher: Publisher,
    room: Arc<Semaphore>,
    confirmed: mpsc::Sender<(Uuid, OwnedSemaphorePermit)>,
    tasks: TaskTracker,
}

impl Relay {
    /// Starts the loop on the current runtime. The loop ends when `stop` is cancelled; [`Relay::drain`] waits for the
    /// rest.
    #[must_use]
    pub fn start(relayed: Relayed, database: Database, publisher: Publisher, stop: CancellationToken) -> Self {
        let relay = Self::without_loop(relayed, database.clone(), publisher);
        tokio::spawn(relay.clone().relay_due(database, stop));
        relay
    }

    /// Returns a relay that publishes the events handed to it, and due rows only when [`Relay::relay_once`] is called.
    #[must_use]
    pub fn without_loop(relayed: Relayed, database: Database, publisher: Publisher) -> Self {
        let room = Arc::new(Semaphore::new(UNCONFIRMED));
        let (confirmed, deletions) = mpsc::channel(UNCONFIRMED);
        let tasks = TaskTracker::new();
        tokio::spawn(delete_confirmed(database, deletions));
        Self { relayed: Arc::new(relayed), publisher, room, confirmed, tasks }
    }

    /// Publishes newly committed events. Returns immediately. Events that find no room or fail stay in the outbox,
    /// until the loop of a process of the same service publishes them.
    pub fn submit(&self, events: Vec<Outgoing>) {
        for event in events {
            let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return };
            self.tasks.spawn(self.clone().publish(event, permit));
        }
    }

    /// Waits while too much is unconfirmed. Whatever produces events must pause here first.
    pub async fn room(&self) {
        // The semaphore is never closed.
        drop(self.room.acquire().await);
    }

    /// Waits until every event handed over is confirmed and deleted, or has failed, for at most `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        self.tasks.close();
        let drained = async {
            self.tasks.wait().await;
            // Every permit is released once the last confirmed row is deleted.
            let all = u32::try_from(UNCONFIRMED).unwrap_or(u32::MAX);
            drop(self.room.acquire_many(all).await);
        };
        if tokio::time::timeout(deadline, drained).await.is_err() {
            tracing::info!("some events are not confirmed yet; they stay in the outbox for another process");
        }
    }

    /// Publishes an event and returns whether the broker confirmed it.
    async fn publish(self, event: Outgoing, permit: OwnedSemaphorePermit) -> bool {
        let message = match Message::event(&event) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(
                    event.id = %event.event_id, order.id = %event.order_id, %error,
                    "an event cannot be published: correct or delete its row in messaging.outbox"
                );
                return false;
            }
        };
        if fault::without(Safeguard::MarkAfterConfirm) {
            drop(self.confirmed.send((event.event_id, permit)).await);
            return self.publisher.publish(message).await.is_ok();
        }
        let mut step = publishing(&event);
        match self.publisher.publish(message).await {
            Ok(()) => {
                drop(step);
                fault::crash_here(CrashPoint::AfterConfirm);
                drop(self.confirmed.send((event.event_id, permit)).await);
                true
            }
            Err(error) => {
                step.failed(&error.to_string());
                tracing::debug!(event.id = %event.event_id, order.id = %event.order_id, %error, "an event stays in the outbox");
                false
            }
        }
    }

    async fn relay_due(self, database: Database, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.publisher.connected() => {}
                () = stop.cancelled() => return,
            }
            match self.relay_once(&database).await {
                // A full batch means that more is due: work off the backlog of an outage without a pause.
                Ok(RelayedBatch { rows: LEASE, .. }) => {
                    failing = false;
                    continue;
                }
                Ok(_) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(error = telemetry::chain(&error), "the outbox cannot be read; trying again");
                    }
                    failing = true;
                }
            }
            let pause = INTERVAL.mul_f64(rand::rng().random_range(0.5..1.5));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Runs one step of the loop: leases the due rows of its services, and publishes them.
    ///
    /// # Errors
    /// Returns database errors.
    pub async fn relay_once(&self, database: &Database) -> Result<RelayedBatch, StoreError> {
        let due = database.run(ANSWER_WITHIN, async |connection| self.lease(connection).await).await?;
        let rows = i64::try_from(due.len()).unwrap_or(i64::MAX);
        metrics::get().outbox.relayed(due.len());
        if rows > 0 {
            tracing::info!(events = rows, "publishing events that waited in the outbox");
        }
        // Waits for their publication, so that a backlog is not leased faster than the broker confirms it.
        let published =
            join_all(due.into_iter().map(async |event| match Arc::clone(&self.room).acquire_owned().await {
                Ok(permit) => self.clone().publish(event, permit).await,
                Err(_) => false,
            }))
            .await;
        Ok(RelayedBatch { rows, confirmed: published.into_iter().map(i64::from).sum() })
    }

    async fn lease(&self, connection: &mut Connection) -> Result<Vec<Outgoing>, StoreError> {
        let mut kinds = outbox::kinds(connection).await?;
        kinds.retain(|event| self.relayed.includes(event));
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        outbox::lease_due(connection, &kinds, LEASE).await
    }
}

/// Returns an event's publication as a step of its order's trace.
fn publishing(event: &Outgoing) -> Span {
    let mut step = Span::after(Kind::Producer, "publish orders.events", event.traceparent.as_deref());
    step.message(About {
        operation: "publish",
        destination: names::EVENTS,
        event: event.event_id,
        order: event.order_id,
        correlation: event.correlation_id,
    });
    step.routing_key(&event.event);
    step
}

/// Deletes confirmed rows, as many together as there are. A row that cannot be deleted becomes due again.
async fn delete_confirmed(database: Database, mut confirmed: mpsc::Receiver<(Uuid, OwnedSemaphorePermit)>) {
    let mut batch = Vec::with_capacity(DELETE);
    while confirmed.recv_many(&mut batch, DELETE).await > 0 {
        let (ids, permits): (Vec<Uuid>, Vec<_>) = batch.drain(..).unzip();
        if let Err(error) = delete(&database, &ids).await {
            tracing::warn!(
                error = telemetry::chain(&error),
                rows = ids.len(),
                "confirmed events could not be deleted from the outbox; they will be published again"
            );
        }
        drop(permits);
        tokio::time::sleep(GATHER).await;
    }
}

async fn delete(database: &Database, ids: &[Uuid]) -> Result<(), StoreError> {
    database.run(ANSWER_WITHIN, async |connection| outbox::delete_soon(connection, ids).await).await?;
    Ok(())
}
