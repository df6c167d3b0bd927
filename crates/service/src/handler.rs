//! The trait that a service implements to handle one event type. A handler sees neither RabbitMQ nor actix.

use std::{future::Future, sync::Arc};

use orderflow_events::{Envelope, EventData, NewEvent};

use crate::{
    call_guard::CallGuard,
    store::{Connection, StoreError},
};

use crate::failure::Failure;

/// An event and the effect of acting on it.
#[derive(Debug)]
pub struct Done<E, F> {
    /// The event.
    pub event: Arc<Envelope<E>>,
    /// The provider's answer.
    pub effect: F,
}

/// Handles the events of one type for one service, in three steps that are batched where that is cheaper:
///
/// 1. `prepare`: reads what `act` needs, and stores what must be known before it (an intent). One call for all events
///    that arrived together. Each statement commits on its own, except behind a pooler in transaction mode, where all
///    are one transaction: rely on neither. A handler whose statements belong together begins a transaction.
/// 2. `act`: calls the provider. One call per event, many concurrently, no open transaction.
/// 3. `record`: writes the effect and returns the events that follow. One transaction for all events that finished
///    together. The inbox has already removed repeated events.
///
/// Every step gets the event log's data, never the message's. Messages whose event is not in the log reach no handler.
///
/// A step may run again after a crash: `prepare` and `act` must be idempotent by the event's id; the inbox makes
/// `record` idempotent.
pub trait Handler: Send + Sync + 'static {
    /// The data of the events. Its event type names the queue.
    type Event: EventData;
    /// The value that `prepare` passes to `act`.
    type Input: Send + 'static;
    /// The value that `act` passes to `record`.
    type Effect: Send + Sync + 'static;

    /// Returns a function that makes the effect, if the handler calls no provider: steps 1 and 2 are then skipped.
    #[must_use]
    fn no_external_effect() -> Option<fn() -> Self::Effect> {
        None
    }

    /// Returns the guard of the provider that `act` calls, or `None` if it calls none. The guard limits the concurrent
    /// calls of `act`. While its breaker is open, the queue is paused.
    fn guard(&self) -> Option<&Arc<CallGuard>> {
        None
    }

    /// Returns whether `act` calls the provider for this event. If not, the event is handled even while the provider is
    /// unavailable, without waiting for a probe.
    fn calls(&self, _input: &Self::Input) -> bool {
        true
    }

    /// Step 1. Returns one result per event, in the same order. A failure among them concerns only its event.
    ///
    /// # Errors
    /// Returns database errors, which concern the whole batch.
    fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<Self::Event>>],
    ) -> impl Future<Output = Result<Vec<Result<Self::Input, Failure>>, StoreError>> + Send;

    /// Step 2.
    ///
    /// # Errors
    /// See [`Failure`].
    fn act(
        &self,
        event: &Envelope<Self::Event>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Effect, Failure>> + Send;

    /// Step 3. Returns the events that follow. The batch contains no event twice.
    ///
    /// # Errors
    /// Returns database errors: the transaction is rolled back and the batch retried, then split into halves.
    fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<Self::Event, Self::Effect>>],
    ) -> impl Future<Output = Result<Vec<NewEvent>, StoreError>> + Send;

    /// Runs after step 3 is committed. A crash can skip it, so nothing may depend on it.
    fn committed(&self, _batch: &[Arc<Done<Self::Event, Self::Effect>>]) {}
}

/// A handler that only writes rows and calls no provider.
pub trait TransactionalHandler: Send + Sync + 'static {
    /// See [`Handler::Event`].
    type Event: EventData;

    /// See [`Handler::record`].
    ///
    /// # Errors
    /// Returns database errors.
    fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<Self::Event, ()>>],
    ) -> impl Future<Output = Result<Vec<NewEvent>, StoreError>> + Send;

    /// See [`Handler::committed`].
    fn committed(&self, _batch: &[Arc<Done<Self::Event, ()>>]) {}
}

impl<R: TransactionalHandler> Handler for R {
    type Event = R::Event;
    type Input = ();
    type Effect = ();

    fn no_external_effect() -> Option<fn()> {
        Some(|| ())
    }

    async fn prepare(
        &self,
        _connection: &mut Connection,
        batch: &[Arc<Envelope<Self::Event>>],
    ) -> Result<Vec<Result<(), Failure>>, StoreError> {
        Ok(batch.iter().map(|_| Ok(())).collect())
    }

    async fn act(&self, _event: &Envelope<Self::Event>, (): ()) -> Result<(), Failure> {
        Ok(())
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<Self::Event, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        TransactionalHandler::record(self, connection, batch).await
    }

    fn committed(&self, batch: &[Arc<Done<Self::Event, ()>>]) {
        TransactionalHandler::committed(self, batch);
    }
}
