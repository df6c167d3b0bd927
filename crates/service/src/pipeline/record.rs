//! Records a batch: inbox, the service's rows, log and outbox in one transaction; then what follows is published.

use std::{collections::HashSet, sync::Arc};

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::{
    Subscription,
    failure::Failure,
    fault::{self, CrashPoint},
    handler::Handler,
    metrics,
    pipeline::{
        queue_context::{Finished, QueueContext, Verdict},
        retry_transaction::retry_transaction,
    },
    split::Parts,
    store::{Database, StoreError, event_log, existing, inbox, outbox::Outgoing},
    telemetry,
    trace::{Kind, Span, is_sampled},
};

/// The transaction that an event was committed in.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// Events that it applied.
    pub events: usize,
    /// Events that follow from them.
    pub follow: usize,
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

/// Records a batch and returns a verdict on each event. When it fails on data it is split, so that only the bad event fails.
pub async fn record<H: Handler>(queue: &QueueContext<H>, batch: Vec<Finished<H>>) -> Vec<(Uuid, Verdict<Committed>)> {
    queue.relay.room().await;
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut parts = Parts::of(batch);
    while let Some(part) = parts.take() {
        let alone = part.len() == 1;
        let steps = recording::<H>(queue.subscription, &part);
        let outcome = retry_transaction(&queue.settle.queue, &queue.stop, alone, || {
            let (handler, database, done) = (Arc::clone(&queue.handler), queue.database.clone(), part.clone());
            let subscription = queue.subscription;
            async move { transaction(&*handler, subscription, &database, &done).await }
        })
        .await;
        drop(steps);
        if outcome.is_ok() {
            queue.pause.set(false);
        }
        match outcome {
            Ok(Outcome::Recorded(follow)) => {
                let committed = committed(queue, &part, follow);
                verdicts.extend(part.iter().map(|done| (done.event.id, Verdict::Passed(committed))));
            }
            Ok(Outcome::Repeated(events)) => {
                verdicts.extend(events.iter().map(|event| (*event, Verdict::Applied)));
                parts.again(only(part, |done| !events.contains(&done.event.id)));
            }
            Ok(Outcome::Strange(existing)) => {
                let strange = part.iter().filter(|done| !existing.contains(&done.event.order_id));
                verdicts.extend(strange.map(|done| (done.event.id, Verdict::Failed(Failure::no_such_order()))));
                parts.again(only(part, |done| existing.contains(&done.event.order_id)));
            }
            Err(error) if error.is_unavailable(alone) => {
                parts.again(part);
                break;
            }
            Err(error) if alone => {
                let failed = || Verdict::Failed(Failure::retry(telemetry::chain(&error)));
                verdicts.extend(part.iter().map(|done| (done.event.id, failed())));
            }
            Err(_) => parts.split(part),
        }
    }
    let rest = parts.rest().into_iter().flatten();
    verdicts.extend(rest.map(|done| (done.event.id, Verdict::Unavailable)));
    verdicts
}

fn only<T>(mut batch: Vec<T>, keep: impl FnMut(&T) -> bool) -> Vec<T> {
    batch.retain(keep);
    batch
}

/// Hands on what follows from a batch that is committed.
fn committed<H: Handler>(queue: &QueueContext<H>, batch: &[Finished<H>], follow: Vec<Outgoing>) -> Committed {
    let committed = Committed { events: batch.len(), follow: follow.len() };
    queue.relay.submit(follow);
    queue.handler.committed(batch);
    queue.settle.metrics.batch(committed.events);
    queue.settle.metrics.settled(metrics::Outcome::Recorded, committed.events);
    committed
}

/// The batch's transaction as a step in the trace of each of its orders that is recorded. The first has links to all the
/// others, and they to the first.
fn recording<H: Handler>(subscription: Subscription, done: &[Finished<H>]) -> Vec<Span> {
    let name = format!("record {subscription}");
    let sampled = |one: &&Finished<H>| one.event.traceparent.as_deref().is_some_and(is_sampled);
    let traced: Vec<_> = done.iter().filter(sampled).collect();
    let contexts: Vec<&str> = traced.iter().filter_map(|one| one.event.traceparent.as_deref()).collect();
    let step = |(number, one): (usize, &Finished<H>)| {
        let others = if number == 0 { contexts.get(1..) } else { contexts.get(..1) }.unwrap_or_default();
        let mut step = Span::linked(Kind::Client, name.clone(), one.event.traceparent.as_deref(), others);
        step.transaction(done.len());
        step.order(one.event.order_id);
        step
    };
    traced.into_iter().enumerate().map(step).filter(Span::is_recorded).collect()
}

async fn transaction<H: Handler>(
    handler: &H,
    subscription: Subscription,
    database: &Database,
    done: &[Finished<H>],
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
            if H::no_external_effect().is_some() {
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
