//! Records a batch: inbox, the service's rows, log and outbox in one transaction; then it is acknowledged and published.

use std::{collections::HashSet, sync::Arc};

use chrono::Utc;
use diesel_async::AsyncConnection as _;
use lapin::message::Delivery;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Subscription,
    broker::Relay,
    failure::Failure,
    fault::{self, CrashPoint, Safeguard},
    handler::{Done, Handler},
    metrics,
    pipeline::{
        head::{Head, is_sent_again, log_span},
        persist::{Pause, PersistError, persistently},
        settle::Settle,
    },
    store::{Database, StoreError, event_log, existing, inbox, outbox::Outgoing},
    telemetry,
    trace::{Kind, Step, is_sampled},
};

/// What `RUST_LOG` calls the lines about single events (docs/LOGGING.md): a name that outlives the move of a module.
const EACH_EVENT: &str = "orderflow_worker";

/// A delivery whose event has been acted on.
pub struct Finished<H: Handler> {
    /// To be settled.
    pub delivery: Delivery,
    /// To be recorded.
    pub done: Done<H::Event, H::Effect>,
}

/// Everything that recording takes; one for each queue.
pub struct Recorder<H> {
    /// Whose queue it is.
    pub subscription: Subscription,
    /// The handler.
    pub handler: Arc<H>,
    /// The database.
    pub database: Database,
    /// The way out for the events that follow.
    pub relay: Relay,
    /// Where deliveries end.
    pub settle: Settle,
    /// Whether the queue is paused because the database is unavailable.
    pub pause: Pause,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}

/// What a transaction came to.
enum Outcome {
    /// Committed, with these events to publish.
    Recorded(Vec<Outgoing>),
    /// Not committed, because these events are applied already.
    Repeated(HashSet<Uuid>),
    /// Not committed, because only these orders exist.
    Strange(HashSet<Uuid>),
}

impl<H: Handler> Recorder<H> {
    /// Records and settles a batch. When it fails on data it is split, so that only the bad message fails. Returns what
    /// is not settled, because the database is unavailable.
    pub async fn record(&self, batch: Vec<Finished<H>>) -> Vec<Delivery> {
        self.relay.room().await;
        let mut pending = vec![batch];
        let mut left = Vec::new();
        while let Some(batch) = pending.pop() {
            let (deliveries, done): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.delivery, one.done)).unzip();
            if fault::without(Safeguard::AckAfterCommit) {
                self.settle.acknowledge(&deliveries).await;
            }
            let done = Arc::new(done);
            let steps = recording::<H>(self.subscription, &done);
            let alone = deliveries.len() == 1;
            let outcome = persistently(&self.settle.queue, &self.stop, alone, || {
                let (handler, database, done) = (Arc::clone(&self.handler), self.database.clone(), Arc::clone(&done));
                let subscription = self.subscription;
                async move { transaction(&*handler, subscription, &database, &done).await }
            })
            .await;
            drop(steps);
            match outcome {
                Ok(Outcome::Recorded(events)) => {
                    self.pause.set(false);
                    // Acknowledged after the commit and not after the confirm: the outbox is durable.
                    self.log(&deliveries, &done, events.len());
                    self.relay.submit(events);
                    self.handler.committed(&done);
                    self.measure(&deliveries, &done);
                    self.settle.acknowledge(&deliveries).await;
                }
                Ok(Outcome::Repeated(events)) => {
                    self.pause.set(false);
                    let (repeated, fresh): (Vec<_>, Vec<_>) =
                        rejoin(deliveries, done).partition(|one: &Finished<H>| events.contains(&one.done.event.id));
                    let repeated: Vec<_> = repeated.into_iter().map(|one| one.delivery).collect();
                    self.acknowledge_repeated(&repeated).await;
                    pending.push(fresh);
                }
                Ok(Outcome::Strange(existing)) => {
                    let (fresh, strange): (Vec<_>, Vec<_>) = rejoin(deliveries, done)
                        .partition(|one: &Finished<H>| existing.contains(&one.done.event.order_id));
                    for Finished { delivery, done } in &strange {
                        let failure = Failure::no_such_order();
                        self.settle.fail(delivery, &failure, done.event.traceparent.as_deref()).await;
                    }
                    pending.push(fresh);
                }
                Err(error) if error.is_unavailable(alone) => {
                    left.extend(deliveries);
                    left.extend(pending.drain(..).flatten().map(|one| one.delivery));
                }
                Err(error) if alone => self.fail(&deliveries, &done, &error).await,
                Err(_) => {
                    let mut first: Vec<_> = rejoin(deliveries, done).collect();
                    let second = first.split_off(first.len() / 2);
                    pending.extend([second, first]);
                }
            }
            pending.retain(|batch| !batch.is_empty());
        }
        left
    }

    /// A line for each event, for those who ask for them.
    fn log(&self, deliveries: &[Delivery], done: &[Done<H::Event, H::Effect>], follow: usize) {
        if !tracing::enabled!(target: EACH_EVENT, tracing::Level::DEBUG) {
            return;
        }
        for (delivery, one) in deliveries.iter().zip(done) {
            log_span(&self.settle.queue, delivery, Some(&Head::from(&one.event))).in_scope(|| {
                tracing::debug!(target: EACH_EVENT, { batch.events = done.len(), batch.follow = follow }, "an event is applied");
            });
        }
    }

    /// Counts a batch that is committed. How long a step took is not measured of what was sent again, by a person or by the
    /// reconciler: that would be how long it lay there.
    fn measure(&self, deliveries: &[Delivery], done: &[Done<H::Event, H::Effect>]) {
        let (metrics, now) = (&self.settle.metrics, Utc::now());
        metrics.batch(done.len());
        metrics.settled(metrics::Outcome::Recorded, done.len());
        for (_, one) in deliveries.iter().zip(done).filter(|(delivery, _)| !is_sent_again(delivery)) {
            // Below zero where clocks differ.
            metrics.step((now - one.event.time).to_std().unwrap_or_default());
        }
    }

    /// Acknowledges deliveries of events that are applied already.
    pub async fn acknowledge_repeated(&self, repeated: &[Delivery]) {
        if !repeated.is_empty() {
            tracing::info!(
                queue = self.settle.queue,
                deliveries = repeated.len(),
                "events that are applied already came again"
            );
            self.settle.metrics.settled(metrics::Outcome::Repeated, repeated.len());
            self.settle.acknowledge(repeated).await;
        }
    }

    async fn fail(&self, deliveries: &[Delivery], done: &[Done<H::Event, H::Effect>], error: &PersistError) {
        let failure = Failure::retry(telemetry::chain(error));
        for (delivery, one) in deliveries.iter().zip(done) {
            self.settle.fail(delivery, &failure, one.event.traceparent.as_deref()).await;
        }
    }
}

/// The batch's transaction as a step in the trace of each of its orders that is recorded. The first has links to all the
/// others, and they to the first.
fn recording<H: Handler>(subscription: Subscription, done: &[Done<H::Event, H::Effect>]) -> Vec<Step> {
    let name = format!("record {subscription}");
    let sampled = |one: &&Done<H::Event, H::Effect>| one.event.traceparent.as_deref().is_some_and(is_sampled);
    let traced: Vec<_> = done.iter().filter(sampled).collect();
    let contexts: Vec<&str> = traced.iter().filter_map(|one| one.event.traceparent.as_deref()).collect();
    let step = |(number, one): (usize, &Done<H::Event, H::Effect>)| {
        let others = if number == 0 { contexts.get(1..) } else { contexts.get(..1) }.unwrap_or_default();
        let mut step = Step::linked(Kind::Client, name.clone(), one.event.traceparent.as_deref(), others);
        step.transaction(done.len());
        step.order(one.event.order_id);
        step
    };
    traced.into_iter().enumerate().map(step).filter(Step::is_recorded).collect()
}

/// Deliveries and what was done for them, together again.
fn rejoin<H: Handler>(
    deliveries: Vec<Delivery>,
    done: Arc<Vec<Done<H::Event, H::Effect>>>,
) -> impl Iterator<Item = Finished<H>> {
    // The transaction's task has ended and with it the only other holder. Were it not so, the deliveries would go
    // unsettled and come again, which is safe.
    let done = Arc::try_unwrap(done).unwrap_or_default();
    deliveries.into_iter().zip(done).map(|(delivery, done)| Finished { delivery, done })
}

async fn transaction<H: Handler>(
    handler: &H,
    subscription: Subscription,
    database: &Database,
    done: &[Done<H::Event, H::Effect>],
) -> Result<Outcome, StoreError> {
    let (queue, source) = (subscription.queue(), format!("/orderflow/{}", subscription.service()));
    let ids: Vec<Uuid> = done.iter().map(|one| one.event.id).collect();
    let mut connection = database.connection().await?;
    let recorded = connection
        .transaction::<_, Abort, _>(async |connection| {
            let fresh = inbox::claim(connection, &queue, &ids).await?;
            if fresh.len() < ids.len() {
                let repeated = ids.iter().copied().filter(|id| !fresh.contains(id)).collect();
                return Err(Abort::Repeated(repeated));
            }
            // Who reaches outside was prepared, and has asked before.
            if H::without_reaching_outside().is_some() {
                let orders: HashSet<Uuid> = done.iter().map(|one| one.event.order_id).collect();
                let existing = existing::orders(connection, &orders.iter().copied().collect::<Vec<_>>()).await?;
                if existing.len() < orders.len() {
                    return Err(Abort::Strange(existing));
                }
            }
            let follow = handler.record(connection, done).await?;
            let follow = event_log::append(connection, &source, follow).await?;
            fault::crash_here(CrashPoint::BeforeCommit);
            Ok(follow)
        })
        .await;
    match recorded {
        Ok(events) => {
            fault::crash_here(CrashPoint::AfterCommit);
            Ok(Outcome::Recorded(events))
        }
        Err(Abort::Repeated(events)) => Ok(Outcome::Repeated(events)),
        Err(Abort::Strange(existing)) => Ok(Outcome::Strange(existing)),
        Err(Abort::Store(error)) => Err(error),
    }
}

/// Why a transaction is rolled back.
enum Abort {
    Repeated(HashSet<Uuid>),
    Strange(HashSet<Uuid>),
    Store(StoreError),
}

impl From<StoreError> for Abort {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<diesel::result::Error> for Abort {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}
