//! A connection that adds the SQLSTATE to its errors and knows when it must not be pooled again.

use std::{future::poll_fn, sync::Arc};

use diesel::{
    ConnectionError, ConnectionResult, QueryResult,
    connection::{CacheSize, Instrumentation},
    pg::Pg,
    query_builder::{AsQuery, QueryFragment, QueryId},
    result::{DatabaseErrorKind, Error as DieselError},
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager as _, pooled_connection::PoolableConnection,
};
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Notification, error::SqlState};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect::{self, Connected, Driver},
    pooled::Pooled,
    refusal::Refusal,
    session::{Session, Sightings},
    tls::Protection,
};
use crate::config::{DatabaseConfig, PostgresServer};

/// The most notifications that wait for a listener. They are hints: further ones are dropped.
const NOTIFICATIONS: usize = 1_024;

/// A connection to PostgreSQL that runs statements; its holder owns the transaction. Dropping it closes it immediately,
/// whatever the server is doing.
pub struct Connection {
    inner: AsyncPgConnection,
    session: Arc<Session>,
    /// `Some` behind a pooler in transaction mode.
    pooled: Option<Pooled>,
    notifications: mpsc::Receiver<Notification>,
    driver: AbortOnDropHandle<()>,
    protection: Protection,
}

impl Connection {
    /// Connects, on the current runtime. Records the server's problems in `sightings`.
    ///
    /// # Errors
    /// Fails if no server accepts us.
    pub(in crate::store) async fn open(server: &PostgresServer, sightings: Arc<Sightings>) -> ConnectionResult<Self> {
        Self::open_through(server, None, sightings).await
    }

    /// Like [`Connection::open`], through a pooler in transaction mode if `pooled` is given.
    ///
    /// # Errors
    /// Fails if no server accepts us.
    pub(in crate::store) async fn open_through(
        server: &PostgresServer,
        pooled: Option<Pooled>,
        sightings: Arc<Sightings>,
    ) -> ConnectionResult<Self> {
        let session = Arc::new(Session::new(sightings));
        let Connected { client, driver, protection } = connect::connect(server, &session).await?;
        if connect::is_read_only(&driver) {
            session.begun_read_only();
        }
        let (heard, notifications) = mpsc::channel(NOTIFICATIONS);
        let driver = AbortOnDropHandle::new(tokio::spawn(drive(driver, heard)));
        let inner = match &pooled {
            Some(pooled) => pooled.set_up(client).await?,
            None => AsyncPgConnection::try_from(client).await?,
        };
        Ok(Self { inner, session, pooled, notifications, driver, protection })
    }

    /// Returns how this connection is protected from the network.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Returns the next notification of a channel that this session listens to; `None` when the connection has ended.
    pub async fn notification(&mut self) -> Option<Notification> {
        self.notifications.recv().await
    }

    /// Returns whether a pooler in transaction mode is in between. It runs each statement in a transaction, so several
    /// statements cost less in one.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }

    /// Runs statements outside a transaction. If this future is dropped before they are answered, the connection is not
    /// pooled again: it still owes an answer.
    ///
    /// # Errors
    /// Returns the errors of `steps`.
    pub async fn outside_transaction<T, E>(
        &mut self,
        steps: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.session.begin_alone();
        let outcome = steps(self).await;
        self.session.end_alone();
        outcome
    }

    /// Returns how to run a statement outside a transaction, if the pooler requires one.
    fn needs_transaction(&mut self) -> Option<Pooled> {
        let pooled = self.pooled.clone()?;
        let depth = AnsiTransactionManager::transaction_manager_status_mut(&mut self.inner).transaction_depth();
        matches!(depth, Ok(None)).then_some(pooled)
    }

    /// Returns the state of the last error on this connection.
    pub(in crate::store) fn last_state(&self) -> Option<SqlState> {
        self.session.latest()
    }

    /// Marks this connection so that it is not pooled again.
    pub(in crate::store) fn spoil(&self) {
        self.session.spoil();
    }
}

async fn drive(mut driver: Driver, heard: mpsc::Sender<Notification>) {
    while let Some(Ok(message)) = poll_fn(|context| driver.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            // Most connections have no listener, and a listener that lags catches up itself.
            drop(heard.try_send(notification));
        }
    }
}

/// Attaches the SQLSTATE to an error.
pub(super) fn with_state(error: DieselError, session: &Session) -> DieselError {
    match error {
        DieselError::DatabaseError(kind, information) => match session.take().or_else(|| lost(&kind)) {
            Some(state) => Refusal::new(state, information).into_diesel(),
            None => DieselError::DatabaseError(kind, information),
        },
        other => other,
    }
}

/// Returns the state for a connection that broke without an answer from the server.
fn lost(kind: &DatabaseErrorKind) -> Option<SqlState> {
    matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
        .then_some(SqlState::CONNECTION_FAILURE)
}

impl SimpleAsyncConnection for Connection {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        let query = match &self.pooled {
            // The statement with which Diesel begins a transaction.
            Some(pooled) if query == "BEGIN" => &pooled.begin,
            _ => query,
        };
        self.inner.batch_execute(query).await.map_err(|error| with_state(error, &self.session))
    }
}

impl AsyncConnectionCore for Connection {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Stream<'conn, 'query> = BoxStream<'static, QueryResult<Self::Row<'conn, 'query>>>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let session = Arc::clone(&self.session);
        if let Some(pooled) = self.needs_transaction() {
            let mut inner = &self.inner;
            let loading = AsyncConnectionCore::load(&mut inner, source);
            let loading = async move { loading.await?.try_collect::<Vec<_>>().await };
            let alone = async move {
                let rows = pooled.alone(inner, &session, loading).await?;
                Ok(stream::iter(rows.into_iter().map(Ok)).boxed())
            };
            return alone.boxed();
        }
        let loading = self.inner.load(source);
        let named = async move {
            match loading.await {
                Ok(rows) => Ok(rows.map(move |row| row.map_err(|error| with_state(error, &session))).boxed()),
                Err(error) => Err(with_state(error, &session)),
            }
        };
        named.boxed()
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let session = Arc::clone(&self.session);
        if let Some(pooled) = self.needs_transaction() {
            let mut inner = &self.inner;
            let executing = AsyncConnectionCore::execute_returning_count(&mut inner, source);
            return async move { pooled.alone(inner, &session, executing).await }.boxed();
        }
        let executing = self.inner.execute_returning_count(source);
        executing.map(move |outcome| outcome.map_err(|error| with_state(error, &session))).boxed()
    }
}

impl AsyncConnection for Connection {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(url: &str) -> ConnectionResult<Self> {
        let server = DatabaseConfig::at(url).server().map_err(ConnectionError::InvalidConnectionUrl)?;
        Self::open(&server, Arc::default()).await
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.inner.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.inner.set_prepared_statement_cache_size(size);
    }
}

impl PoolableConnection for Connection {
    /// Returns whether the connection must not be used again, including when the server has ended it, or it received an
    /// error that [`spoils`](crate::store::error::spoils) it.
    fn is_broken(&mut self) -> bool {
        self.session.is_spoiled()
            || self.session.is_left_open()
            || self.driver.is_finished()
            || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}
