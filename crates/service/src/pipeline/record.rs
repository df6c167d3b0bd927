//! Records a batch: inbox, service rows, event log and outbox in one transaction. Then publishes the new events.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::{
    Subscription,
    failure::Failure,
    fault::{self, CrashPoint},
    handler::{Done, Handler},
    metrics::{self, QueueMetrics},
    pipeline::{
        queue_context::{Finished, QueueContext, Recordable, Verdict},
        retry_transaction::retry_transaction,
        verify::verify,
    },
    split::Parts,
    store::{Connection, Database, StoreError, event_log, inbox, outbox::Outgoing},
    telemetry,
    trace::{Kind, Span, is_sampled},
};

/// The transaction in which an event was committed.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// Events that the transaction applied.
    pub events: usize,
    /// New events that follow from them.
    pub follow: usize,
}

/// The outcome of a transaction.
enum Outcome<H: Handler> {
    /// These events are committed, with the new events to publish.
    Recorded(Vec<Finished<H>>, Vec<Outgoing>),
    /// Not committed, because these events are already applied.
    Repeated(HashSet<Uuid>),
    /// Not committed, because these events cannot be verified.
    Unverified(HashMap<Uuid, Failure>),
}

/// Records a batch and returns a verdict on each event. A batch that fails on its data is split, so that only the bad
/// event fails.
pub async fn record<H: Handler>(queue: &QueueContext<H>, batch: Vec<Recordable<H>>) -> Vec<(Uuid, Verdict<Committed>)> {
    queue.relay.room().await;
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut parts = Parts::of(batch);
    while let Some(part) = parts.take() {
        let alone = part.len() == 1;
        let steps = recording::<H>(queue.subscription, &part);
        let outcome = retry_transaction(&queue.settle.queue, &queue.stop, alone, || {
            let (handler, database, batch) = (Arc::clone(&queue.handler), queue.database.clone(), part.clone());
            let (subscription, metrics) = (queue.subscription, queue.settle.metrics.clone());
            async move { transaction(&*handler, subscription, &metrics, &database, batch).await }
        })
        .await;
        drop(steps);
        if outcome.is_ok() {
            queue.pause.set(false);
        }
        match outcome {
            Ok(Outcome::Recorded(done, follow)) => {
                let committed = committed(queue, &done, follow);
                verdicts.extend(done.iter().map(|done| (done.event.id, Verdict::Passed(committed))));
            }
            Ok(Outcome::Repeated(events)) => {
                verdicts.extend(events.iter().map(|event| (*event, Verdict::Applied)));
                parts.again(only(part, |event| !events.contains(&event.id())));
            }
            Ok(Outcome::Unverified(failures)) => {
                parts.again(only(part, |event| !failures.contains_key(&event.id())));
                verdicts.extend(failures.into_iter().map(|(event, failure)| (event, Verdict::Failed(failure))));
            }
            Err(error) if error.is_unavailable(alone) => {
                parts.again(part);
                break;
            }
            Err(error) if alone => {
                let failed = || Verdict::Failed(Failure::retry(telemetry::chain(&error)));
                verdicts.extend(part.iter().map(|event| (event.id(), failed())));
            }
            Err(_) => parts.split(part),
        }
    }
    let rest = parts.rest().into_iter().flatten();
    verdicts.extend(rest.map(|event| (event.id(), Verdict::Unavailable)));
    verdicts
}

fn only<T>(mut batch: Vec<T>, keep: impl FnMut(&T) -> bool) -> Vec<T> {
    batch.retain(keep);
    batch
}

/// Submits the new events of a committed batch for publishing, and counts the batch.
fn committed<H: Handler>(queue: &QueueContext<H>, batch: &[Finished<H>], follow: Vec<Outgoing>) -> Committed {
    let committed = Committed { events: batch.len(), follow: follow.len() };
    queue.relay.submit(follow);
    queue.handler.committed(batch);
    queue.settle.metrics.batch(committed.events);
    queue.settle.metrics.settled(metrics::Outcome::Recorded, committed.events);
    committed
}

/// Returns the batch's transaction as a step in the trace of each sampled order. The first step links to all the
/// others, and each of them to the first.
fn recording<H: Handler>(subscription: Subscription, batch: &[Recordable<H>]) -> Vec<Span> {
    let name = format!("record {subscription}");
    let traced: Vec<(Uuid, &str)> = batch
        .iter()
        .map(Recordable::order_and_trace)
        .filter_map(|(order, context)| Some((order, context.filter(|context| is_sampled(context))?)))
        .collect();
    let contexts: Vec<&str> = traced.iter().map(|(_, context)| *context).collect();
    let step = |(number, (order, context)): (usize, (Uuid, &str))| {
        let others = if number == 0 { contexts.get(1..) } else { contexts.get(..1) }.unwrap_or_default();
        let mut step = Span::linked(Kind::Client, name.clone(), Some(context), others);
        step.transaction(batch.len());
        step.order(order);
        step
    };
    traced.into_iter().enumerate().map(step).filter(Span::is_recorded).collect()
}

async fn transaction<H: Handler>(
    handler: &H,
    subscription: Subscription,
    metrics: &QueueMetrics,
    database: &Database,
    batch: Vec<Recordable<H>>,
) -> Result<Outcome<H>, StoreError> {
    let (queue, source) = (subscription.queue(), format!("/orderflow/{}", subscription.service()));
    let ids: Vec<Uuid> = batch.iter().map(Recordable::id).collect();
    let mut connection = database.connection().await?;
    let recorded = connection
        .transaction::<_, Abort, _>(async |connection| {
            let fresh = inbox::claim(connection, &queue, &ids).await?;
            if fresh.len() < ids.len() {
                let repeated = ids.iter().copied().filter(|id| !fresh.contains(id)).collect();
                return Err(Abort::Repeated(repeated));
            }
            let done = verified(connection, metrics, batch).await?;
            let follow = handler.record(connection, &done).await?;
            let follow = event_log::append(connection, &source, follow).await?;
            fault::crash_here(CrashPoint::BeforeCommit);
            Ok((done, follow))
        })
        .await;
    match recorded {
        Ok((done, follow)) => {
            fault::crash_here(CrashPoint::AfterCommit);
            Ok(Outcome::Recorded(done, follow))
        }
        Err(Abort::Repeated(events)) => Ok(Outcome::Repeated(events)),
        Err(Abort::Unverified(failures)) => Ok(Outcome::Unverified(failures)),
        Err(Abort::Store(error)) => Err(error),
    }
}

/// Returns the events as the log has them. Events that were acted on have already been verified.
async fn verified<H: Handler>(
    connection: &mut Connection,
    metrics: &QueueMetrics,
    batch: Vec<Recordable<H>>,
) -> Result<Vec<Finished<H>>, Abort> {
    let (mut done, mut received, mut effects) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
    for event in batch {
        match event {
            Recordable::Acted(acted) => done.push(acted),
            Recordable::Received(event, effect) => {
                received.push(event);
                effects.push(effect);
            }
        }
    }
    if received.is_empty() {
        return Ok(done);
    }
    let ids: Vec<Uuid> = received.iter().map(|event| event.id()).collect();
    // After the claim, which waits for any transaction that archives these events.
    let mut logged = event_log::find(connection, &ids).await?;
    let missing: Vec<Uuid> = ids.into_iter().filter(|id| !logged.contains_key(id)).collect();
    let archived = event_log::archived(connection, &missing).await?;
    if !archived.is_empty() {
        return Err(Abort::Repeated(archived));
    }
    let mut failures = HashMap::new();
    for (received, effect) in received.iter().zip(effects) {
        match verify::<H>(metrics, received, logged.remove(&received.id())) {
            Ok(event) => done.push(Arc::new(Done { event, effect: effect() })),
            Err(failure) => drop(failures.insert(received.id(), failure)),
        }
    }
    if failures.is_empty() { Ok(done) } else { Err(Abort::Unverified(failures)) }
}

/// Why a transaction is rolled back.
enum Abort {
    Repeated(HashSet<Uuid>),
    Unverified(HashMap<Uuid, Failure>),
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
