//! The step before `act`: verifies the deliveries that arrived together, skips events that are already applied, and
//! reads what `act` needs.

use std::sync::Arc;

use diesel_async::AsyncConnection as _;
use uuid::Uuid;

use crate::{
    Subscription,
    failure::Failure,
    handler::Handler,
    metrics::QueueMetrics,
    pipeline::{
        queue_context::{Event, QueueContext, Verdict},
        received::Received,
        retry_transaction::retry_transaction,
        verify::verify,
    },
    split::Parts,
    store::{Connection, Database, StoreError, event_log, inbox},
    telemetry,
};

/// The result of preparing each event: its id, and a verdict with the event from the log and the input for `act`.
pub type Prepared<H> = Vec<(Uuid, Verdict<(Event<H>, <H as Handler>::Input)>)>;

/// Prepares a batch and returns a verdict on each event. A batch that fails on its data is split, so that only the bad
/// event fails.
pub async fn prepare<H: Handler>(queue: &QueueContext<H>, batch: Vec<Arc<Received>>) -> Prepared<H> {
    let mut prepared = Vec::with_capacity(batch.len());
    let mut parts = Parts::of(batch);
    while let Some(part) = parts.take() {
        let alone = part.len() == 1;
        let outcome = retry_transaction(&queue.settle.queue, &queue.stop, alone, || {
            let (handler, database, events) = (Arc::clone(&queue.handler), queue.database.clone(), part.clone());
            let (subscription, metrics) = (queue.subscription, queue.settle.metrics.clone());
            async move { attempt(&*handler, subscription, &metrics, &database, &events).await }
        })
        .await;
        let ids = part.iter().map(|event| event.id());
        match outcome {
            Ok(verdicts) => prepared.extend(ids.zip(verdicts)),
            Err(error) if error.is_unavailable(alone) => {
                parts.again(part);
                break;
            }
            Err(error) if alone => {
                let failed = || Verdict::Failed(Failure::retry(telemetry::chain(&error)));
                prepared.extend(ids.map(|event| (event, failed())));
            }
            Err(_) => parts.split(part),
        }
    }
    prepared.extend(parts.rest().into_iter().flatten().map(|event| (event.id(), Verdict::Unavailable)));
    prepared
}

/// Without a transaction, unless a pooler needs one: this saves two round trips. [`Handler::prepare`] is idempotent, so
/// what it has written may stay when it fails halfway.
async fn attempt<H: Handler>(
    handler: &H,
    subscription: Subscription,
    metrics: &QueueMetrics,
    database: &Database,
    received: &[Arc<Received>],
) -> Result<Vec<Verdict<(Event<H>, H::Input)>>, StoreError> {
    let mut connection = database.connection().await?;
    let steps = async |connection: &mut Connection| steps(handler, subscription, metrics, connection, received).await;
    if connection.is_pooled() {
        connection.transaction(async |connection| steps(connection).await).await
    } else {
        connection.outside_transaction(steps).await
    }
}

async fn steps<H: Handler>(
    handler: &H,
    subscription: Subscription,
    metrics: &QueueMetrics,
    connection: &mut Connection,
    received: &[Arc<Received>],
) -> Result<Vec<Verdict<(Event<H>, H::Input)>>, StoreError> {
    let ids: Vec<Uuid> = received.iter().map(|event| event.id()).collect();
    let mut known = inbox::known(connection, &subscription.queue(), &ids).await?;
    let nowhere = known.iter().filter(|(_, known)| !known.is_applied && known.logged.is_none());
    let archived = event_log::archived(connection, &nowhere.map(|(id, _)| *id).collect::<Vec<_>>()).await?;
    let verdict = |event: &Arc<Received>| {
        let known = known.remove(&event.id());
        // Already applied, so the message's contents do not matter.
        if archived.contains(&event.id()) || known.as_ref().is_some_and(|known| known.is_applied) {
            return Verdict::Applied;
        }
        match verify::<H>(metrics, event, known.and_then(|known| known.logged)) {
            Ok(event) => Verdict::Passed(event),
            Err(failure) => Verdict::Failed(failure),
        }
    };
    let verdicts: Vec<Verdict<Event<H>>> = received.iter().map(verdict).collect();
    let fresh: Vec<Event<H>> = verdicts.iter().filter_map(Verdict::passed).cloned().collect();
    Ok(spread(verdicts, handler.prepare(connection, &fresh).await?))
}

/// Joins the events that passed with their results.
fn spread<E, T>(verdicts: Vec<Verdict<E>>, results: Vec<Result<T, Failure>>) -> Vec<Verdict<(E, T)>> {
    let mut results = results.into_iter();
    let joined = |verdict: Verdict<E>| {
        verdict.and_then(|event| match results.next() {
            Some(Ok(input)) => Verdict::Passed((event, input)),
            Some(Err(failure)) => Verdict::Failed(failure),
            None => Verdict::Failed(Failure::reject("the handler prepared fewer events than it received")),
        })
    };
    verdicts.into_iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If they were acknowledged as applied, events without a result would be lost.
    #[test]
    fn event_without_a_result_of_its_handler_is_rejected() {
        let verdicts = vec![
            Verdict::Passed('a'),
            Verdict::Applied,
            Verdict::Failed(Failure::NotInLog { names_another: false }),
            Verdict::Passed('b'),
        ];
        assert!(matches!(
            spread(verdicts, vec![Ok(1)]).as_slice(),
            [
                Verdict::Passed(('a', 1)),
                Verdict::Applied,
                Verdict::Failed(Failure::NotInLog { .. }),
                Verdict::Failed(Failure::Reject { .. })
            ]
        ));
    }
}
