//! What a service writes to handle one kind of event. It sees neither RabbitMQ nor actix.

use std::{future::Future, sync::Arc};

use orderflow_events::{Envelope, EventData, NewEvent};

use crate::{
    call_guard::CallGuard,
    store::{Connection, StoreError},
};

use crate::failure::Failure;

/// An event and what came of acting on it.
#[derive(Debug)]
pub struct Done<E, F> {
    /// The event.
    pub event: Arc<Envelope<E>>,
    /// What the outside world answered.
    pub effect: F,
}

/// Handles the events of one kind for one service, in three steps that are batched where that is cheaper:
///
/// 1. `prepare`: read what `act` needs, and write down what has to be known before it (an intent). One transaction
///    for all events that arrived together.
/// 2. `act`: reach outside. One call an event, many at once, no transaction open.
/// 3. `record`: write what came of it, and say what follows. One transaction for all that finished together, in which
///    the inbox has already told repeated events apart.
///
/// Every step gets the event log's data, never the message's. Messages of events that are not in the log reach no handler.
///
/// A step may run again after a crash: `prepare` and `act` have to be idempotent by the event's id, `record` is made so
/// by the inbox.
pub trait Handler: Send + Sync + 'static {
    /// The data of the events. Its kind names the queue.
    type Event: EventData;
    /// What `prepare` hands to `act`.
    type Input: Send + 'static;
    /// What `act` hands to `record`.
    type Effect: Send + Sync + 'static;

    /// Returns how to make the effect of an event where there is nothing to reach outside for: steps 1 and 2 are then left out.
    #[must_use]
    fn no_external_effect() -> Option<fn() -> Self::Effect> {
        None
    }

    /// Returns the guard of the provider that `act` calls, `None` where it calls nobody. While its breaker is open the queue is
    /// paused, and at most as many calls of `act` are under way as the guard takes.
    fn guard(&self) -> Option<&Arc<CallGuard>> {
        None
    }

    /// Whether `act` calls the provider for this event. One that does not is handled while the provider is unavailable,
    /// without waiting for a turn to try it.
    fn calls(&self, _input: &Self::Input) -> bool {
        true
    }

    /// Step 1. Returns one result per event, in the same order; a failure there is that event's alone.
    ///
    /// # Errors
    /// Those of the database, which concern the whole batch.
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

    /// Step 3. Returns the events that follow. The batch has no event twice.
    ///
    /// # Errors
    /// Those of the database: the transaction is rolled back, the batch tried again, and then in halves.
    fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<Self::Event, Self::Effect>>],
    ) -> impl Future<Output = Result<Vec<NewEvent>, StoreError>> + Send;

    /// Step 3 is committed. What is done here may be lost with the process, so nothing may depend on it.
    fn committed(&self, _batch: &[Arc<Done<Self::Event, Self::Effect>>]) {}
}

/// A handler that only writes rows: it has nothing to do with the outside world.
pub trait TransactionalHandler: Send + Sync + 'static {
    /// See [`Handler::Event`].
    type Event: EventData;

    /// See [`Handler::record`].
    ///
    /// # Errors
    /// Those of the database.
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
