//! The step before `act`: tells repeated events apart and reads what acting needs, for all that arrived together.

use std::{collections::HashSet, sync::Arc};

use diesel_async::AsyncConnection as _;
use orderflow_events::Envelope;
use uuid::Uuid;

use crate::{
    Subscription,
    failure::Failure,
    handler::Handler,
    pipeline::{
        queue_context::{Event, QueueContext, Verdict},
        retry_transaction::retry_transaction,
    },
    split::Parts,
    store::{Database, StoreError, existing, inbox},
    telemetry,
};

/// Each event with what acting on it needs.
pub type Prepared<H> = Vec<(Event<H>, Verdict<<H as Handler>::Input>)>;

/// Prepares a batch and returns a verdict on each event. When it fails on data it is split, so that only the bad event fails.
pub async fn prepare<H: Handler>(queue: &QueueContext<H>, batch: Vec<Event<H>>) -> Prepared<H> {
    let mut prepared = Vec::with_capacity(batch.len());
    let mut parts = Parts::of(batch);
    while let Some(part) = parts.take() {
        let alone = part.len() == 1;
        let outcome = retry_transaction(&queue.settle.queue, &queue.stop, alone, || {
            let (handler, database, events) = (Arc::clone(&queue.handler), queue.database.clone(), part.clone());
            let subscription = queue.subscription;
            async move { transaction(&*handler, subscription, &database, &events).await }
        })
        .await;
        match outcome {
            Ok(verdicts) => prepared.extend(part.into_iter().zip(verdicts)),
            Err(error) if error.is_unavailable(alone) => {
                parts.again(part);
                break;
            }
            Err(error) if alone => {
                let failed = || Verdict::Failed(Failure::retry(telemetry::chain(&error)));
                prepared.extend(part.into_iter().map(|event| (event, failed())));
            }
            Err(_) => parts.split(part),
        }
    }
    prepared.extend(parts.rest().into_iter().flatten().map(|event| (event, Verdict::Unavailable)));
    prepared
}

async fn transaction<H: Handler>(
    handler: &H,
    subscription: Subscription,
    database: &Database,
    events: &[Event<H>],
) -> Result<Vec<Verdict<H::Input>>, StoreError> {
    let queue = subscription.queue();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let orders: Vec<Uuid> = events.iter().map(|event| event.order_id).collect();
    let mut connection = database.connection().await?;
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            let applied = inbox::applied(connection, &queue, &ids).await?;
            let existing = existing::orders(connection, &orders).await?;
            let kinds: Vec<Kind> = events.iter().map(|event| Kind::of(event, &applied, &existing)).collect();
            let fresh = events.iter().zip(&kinds).filter(|(_, kind)| **kind == Kind::Fresh);
            let fresh: Vec<_> = fresh.map(|(event, _)| Arc::clone(event)).collect();
            Ok(spread(&kinds, handler.prepare(connection, &fresh).await?))
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
fn spread<T>(kinds: &[Kind], fresh: Vec<Result<T, Failure>>) -> Vec<Verdict<T>> {
    let mut fresh = fresh.into_iter();
    let verdict = |kind: &Kind| match kind {
        Kind::Fresh => match fresh.next() {
            Some(Ok(input)) => Verdict::Passed(input),
            Some(Err(failure)) => Verdict::Failed(failure),
            None => Verdict::Failed(Failure::reject("the handler prepared fewer events than it was given")),
        },
        Kind::Repeated => Verdict::Applied,
        Kind::Strange => Verdict::Failed(Failure::no_such_order()),
    };
    kinds.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acknowledged as applied, the events without a result would be lost.
    #[test]
    fn event_without_a_result_of_its_handler_is_rejected() {
        let kinds = [Kind::Fresh, Kind::Repeated, Kind::Strange, Kind::Fresh];
        let verdicts = spread(&kinds, vec![Ok(1)]);
        assert!(matches!(
            verdicts.as_slice(),
            [Verdict::Passed(1), Verdict::Applied, Verdict::Failed(_), Verdict::Failed(Failure::Reject { .. })]
        ));
    }
}
