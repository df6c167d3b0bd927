//! The step before `act`: tells repeated events apart and reads what acting needs, for all that arrived together.

use std::{collections::HashSet, sync::Arc};

use diesel_async::AsyncConnection as _;
use lapin::message::Delivery;
use orderflow_events::Envelope;
use uuid::Uuid;

use crate::{
    failure::Failure,
    handler::Handler,
    pipeline::{
        persist::{PersistError, persistently},
        record::Recorder,
    },
    store::{Database, StoreError, existing, inbox},
    telemetry,
};

/// A delivery whose body is the event that it should be.
pub struct Arrived<H: Handler> {
    /// To be settled.
    pub delivery: Delivery,
    /// Its event.
    pub event: Envelope<H::Event>,
}

/// A delivery that can be acted on.
pub struct Ready<H: Handler> {
    /// To be settled.
    pub delivery: Delivery,
    /// Its event.
    pub event: Envelope<H::Event>,
    /// What acting needs.
    pub input: H::Input,
}

/// What came of preparing a batch: for each event a result, or none where it is applied already.
type Prepared<H> = Vec<Option<Result<<H as Handler>::Input, Failure>>>;

/// Prepares a batch and returns what can be acted on, and what is not settled because the database is unavailable; the
/// rest is settled. When it fails on data it is split, so that only the bad message fails.
pub async fn prepare<H: Handler>(recorder: &Recorder<H>, batch: Vec<Arrived<H>>) -> (Vec<Ready<H>>, Vec<Delivery>) {
    let mut all_ready = Vec::with_capacity(batch.len());
    let mut left = Vec::new();
    let mut pending = vec![batch];
    while let Some(batch) = pending.pop() {
        let (deliveries, events): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.delivery, one.event)).unzip();
        let events = Arc::new(events);
        let alone = deliveries.len() == 1;
        let prepared = persistently(&recorder.settle.queue, &recorder.stop, alone, || {
            let (handler, database, events) =
                (Arc::clone(&recorder.handler), recorder.database.clone(), Arc::clone(&events));
            let subscription = recorder.settle.queue.clone();
            async move { transaction(&*handler, &subscription, &database, &events).await }
        })
        .await;
        // Every attempt's task has ended, so nobody else holds the events. Were it not so, the deliveries would go
        // unsettled and come again, which is safe.
        let events = Arc::try_unwrap(events).unwrap_or_default();
        let batch = deliveries.into_iter().zip(events);
        match prepared {
            Ok(prepared) => all_ready.extend(sort(recorder, batch.zip(prepared)).await),
            Err(error) if error.is_unavailable(alone) => {
                left.extend(batch.map(|(delivery, _)| delivery));
                left.extend(pending.drain(..).flatten().map(|one: Arrived<H>| one.delivery));
            }
            Err(error) if alone => fail(recorder, batch, &error).await,
            Err(_) => {
                let mut first: Vec<_> = batch.map(|(delivery, event)| Arrived { delivery, event }).collect();
                let second = first.split_off(first.len() / 2);
                pending.extend([second, first]);
            }
        }
    }
    (all_ready, left)
}

/// Keeps what can be acted on and settles the rest.
async fn sort<H: Handler>(
    recorder: &Recorder<H>,
    batch: impl Iterator<Item = ((Delivery, Envelope<H::Event>), Option<Result<H::Input, Failure>>)>,
) -> Vec<Ready<H>> {
    let (mut ready, mut repeated) = (Vec::new(), Vec::new());
    for ((delivery, event), prepared) in batch {
        match prepared {
            Some(Ok(input)) => ready.push(Ready { delivery, event, input }),
            Some(Err(failure)) => {
                recorder.settle.fail(&delivery, &failure, event.traceparent.as_deref()).await;
            }
            None => repeated.push(delivery),
        }
    }
    recorder.acknowledge_repeated(&repeated).await;
    ready
}

async fn fail<H: Handler>(
    recorder: &Recorder<H>,
    batch: impl Iterator<Item = (Delivery, Envelope<H::Event>)>,
    error: &PersistError,
) {
    let failure = Failure::retry(telemetry::chain(error));
    for (delivery, event) in batch {
        recorder.settle.fail(&delivery, &failure, event.traceparent.as_deref()).await;
    }
}

async fn transaction<H: Handler>(
    handler: &H,
    subscription: &str,
    database: &Database,
    events: &[Envelope<H::Event>],
) -> Result<Prepared<H>, StoreError> {
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let orders: Vec<Uuid> = events.iter().map(|event| event.order_id).collect();
    let mut connection = database.connection().await?;
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            let applied = inbox::applied(connection, subscription, &ids).await?;
            let existing = existing::orders(connection, &orders).await?;
            let kinds: Vec<Kind> = events.iter().map(|event| Kind::of(event, &applied, &existing)).collect();
            let prepared = if kinds.iter().all(|kind| *kind == Kind::Fresh) {
                handler.prepare(connection, events).await?
            } else {
                let fresh = events.iter().zip(&kinds).filter(|(_, kind)| **kind == Kind::Fresh);
                let fresh: Vec<_> = fresh.map(|(event, _)| event.clone()).collect();
                handler.prepare(connection, &fresh).await?
            };
            Ok(spread(&kinds, prepared))
        })
        .await
}

/// What an event is to this subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To be handled.
    Fresh,
    /// Applied already.
    Repeated,
    /// Of an order that does not exist.
    Strange,
}

impl Kind {
    fn of<E>(event: &Envelope<E>, applied: &HashSet<Uuid>, existing: &HashSet<Uuid>) -> Self {
        if applied.contains(&event.id) {
            Self::Repeated
        } else if existing.contains(&event.order_id) {
            Self::Fresh
        } else {
            Self::Strange
        }
    }
}

/// Puts the results of the fresh events back to their places among all.
fn spread<T>(kinds: &[Kind], fresh: Vec<Result<T, Failure>>) -> Vec<Option<Result<T, Failure>>> {
    let mut fresh = fresh.into_iter();
    let result = |kind: &Kind| match kind {
        Kind::Fresh => fresh.next(),
        Kind::Repeated => None,
        Kind::Strange => Some(Err(Failure::no_such_order())),
    };
    kinds.iter().map(result).collect()
}
