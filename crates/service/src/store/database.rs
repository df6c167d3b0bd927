//! The pool of database connections.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{TimeoutType, Timeouts},
};
use diesel::ConnectionError;
use diesel_async::{
    RunQueryDsl as _,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolError as SetupError, PoolableConnection as _, RecyclingMethod,
        deadpool::{Object, Pool, PoolError},
    },
};
use futures::FutureExt as _;
use tokio::{runtime::Handle, time::Instant};

use super::{
    StoreError,
    connecting::{self, Target},
    gate::{Gate, Turn},
    wire::{Condition, Connection, Sightings},
};
use crate::{
    Backoff,
    config::{DatabaseConfig, PostgresServer},
    metrics, telemetry,
};

/// A connection that returns to its pool, or is closed if it is broken.
///
/// Three kinds are broken: one whose transaction a panic or time-out left open, since it would keep its locks in the
/// pool; one that the server has ended; and one whose session is read-only, since it stays so even when the database no
/// longer is.
///
/// Its turn ends only then, so the next task to get a turn finds a free connection.
pub struct PooledConnection {
    connection: Option<Object<Connection>>,
    _turn: Turn,
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_broken()
        {
            drop(Object::take(connection));
        }
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("only `drop` takes the connection"),
        }
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("only `drop` takes the connection"),
        }
    }
}

/// How long to wait for a free connection, and for a new one to be made. If PostgreSQL refuses a new one because it has
/// too many, this is also how long to wait for a free one.
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(5);

/// The bound for a few statements that usually take milliseconds. The caller always gets an answer, if only that the
/// database is unavailable.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A bounded pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Connection>,
    gate: Arc<Gate>,
    /// PostgreSQL itself, if the pool leads to a pooler in transaction mode.
    direct: Option<Arc<PostgresServer>>,
    runtime: Handle,
    sightings: Arc<Sightings>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Returns a pool of at most `size` connections, opened when first needed. `program` is the application name in
    /// `pg_stat_activity`.
    ///
    /// Connections live on the tokio runtime that this is called on, regardless of the caller that requests one. A
    /// connection whose background task ran on an actix-web worker's runtime would end with that worker.
    ///
    /// # Errors
    /// Fails if the URL cannot be read.
    pub fn new(config: &DatabaseConfig, program: &str, size: usize) -> Result<Self, ConnectionError> {
        Self::open(config, program, &[], size)
    }

    /// Like [`Database::new`], for statements that find rows by key: PostgreSQL uses indexes for tables of any size and
    /// age. Do not use it for reports over much of a table: it makes them slower.
    ///
    /// # Errors
    /// Fails if the URL cannot be read.
    pub fn by_key(config: &DatabaseConfig, program: &str, size: usize) -> Result<Self, ConnectionError> {
        Self::open(config, program, &connecting::BY_KEY, size)
    }

    fn open(
        config: &DatabaseConfig,
        program: &str,
        more: &[(&str, &str)],
        size: usize,
    ) -> Result<Self, ConnectionError> {
        let Target { server, pooled } = connecting::bounded(config, program, more)?;
        let direct = match &config.direct {
            Some(_) => Some(connecting::bounded(&config.directly(), program, more)?.server),
            None => None,
        };
        let runtime = Handle::current();
        let opened_on = runtime.clone();
        let sightings = Arc::new(Sightings::default());
        let seen = Arc::clone(&sightings);
        let mut manager = ManagerConfig::default();
        // A dead connection fails at its first statement, and every caller must cope with that anyway.
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| {
            let (server, pooled, seen) = (server.clone(), pooled.clone(), Arc::clone(&seen));
            let opening = opened_on.spawn(async move { Connection::open_through(&server, pooled, seen).await });
            async move { opening.await.map_err(|error| ConnectionError::BadConnection(error.to_string()))? }.boxed()
        });
        let timeouts = Timeouts {
            wait: Some(WAIT_FOR_CONNECTION),
            create: Some(WAIT_FOR_CONNECTION),
            recycle: Some(WAIT_FOR_CONNECTION),
        };
        let pool =
            Pool::builder(AsyncDieselConnectionManager::new_with_config("the driver's own configuration", manager))
                .max_size(size)
                .timeouts(timeouts)
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
        Ok(Self { pool, gate: Arc::new(Gate::new(size)), direct: direct.map(Arc::new), runtime, sightings })
    }

    /// Returns what the database recently proved unable to do. Costs no statement.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.sightings.condition()
    }

    /// Returns the most connections that the pool may have.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.pool.status().max_size
    }

    /// Updates the metrics of the pool.
    pub fn measure(&self) {
        let now = self.pool.status();
        metrics::get().database.pool(now.size, now.available, now.max_size, self.gate.waiting());
    }

    /// Runs `work` on a connection, for at most `bound` including the wait for the connection.
    ///
    /// If the time runs out, closes the connection instead of pooling it again: the server may never have received the
    /// statement, or its answer was lost, and only our own clock notices. The server's bounds (`statement_timeout`) do
    /// not help if its answer never arrives.
    ///
    /// # Errors
    /// Returns the errors of the work; [`StoreError::TimedOut`], after which the work may still be done; and when there
    /// is no connection.
    pub async fn run<T, E: From<StoreError>>(
        &self,
        bound: Duration,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let deadline = Instant::now() + bound;
        let late = || StoreError::TimedOut(bound);
        let mut connection = tokio::time::timeout_at(deadline, self.connection()).await.map_err(|_| late())??;
        match tokio::time::timeout_at(deadline, work(&mut connection)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                connection.spoil();
                Err(late().into())
            }
        }
    }

    /// Returns whether the server answers within `bound`. Having a connection proves little: it may be dead.
    pub async fn answers(&self, bound: Duration) -> bool {
        let asking = async |connection: &mut Connection| {
            Ok::<_, StoreError>(diesel::sql_query("SELECT 1").execute(connection).await?)
        };
        self.run(bound, asking).await.is_ok()
    }

    /// Returns whether the pool leads to a pooler in transaction mode.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.direct.is_some()
    }

    /// Returns a connection that the caller owns, with its own PostgreSQL session. It never returns to the pool, which
    /// may open another in its place.
    ///
    /// # Errors
    /// The same as for [`Database::connection`].
    pub async fn own_connection(&self) -> Result<Connection, StoreError> {
        if let Some(direct) = self.direct.clone() {
            let seen = Arc::clone(&self.sightings);
            let opening = self.runtime.spawn(async move { Connection::open(&direct, seen).await });
            let opened = opening.await.map_err(|error| ConnectionError::BadConnection(error.to_string())).flatten();
            return Ok(opened.map_err(|error| PoolError::Backend(SetupError::ConnectionError(error)))?);
        }
        Ok(Object::take(self.pooled().await?.0))
    }

    /// Returns a connection within ten seconds. The caller must bound what it does with it, in a transaction or in
    /// [`Connection::outside_transaction`], so that the connection is closed instead of pooled when the time is up. For
    /// everything else use [`Database::run`].
    ///
    /// # Errors
    /// Fails if no connection becomes free and none can be opened in time.
    pub async fn connection(&self) -> Result<PooledConnection, StoreError> {
        let (connection, turn) = self.pooled().await?;
        Ok(PooledConnection { connection: Some(connection), _turn: turn })
    }

    /// Names the reason why no turn came in time.
    fn no_turn(&self) -> StoreError {
        if self.gate.is_shrunk() { StoreError::NoConnectionLeft } else { PoolError::Timeout(TimeoutType::Wait).into() }
    }

    async fn pooled(&self) -> Result<(Object<Connection>, Turn), StoreError> {
        let deadline = Instant::now() + WAIT_FOR_CONNECTION;
        let mut backoff = Backoff::default();
        loop {
            let turn = self.gate.turn(deadline).await.ok_or_else(|| self.no_turn())?;
            let error = match self.pool.get().await {
                Ok(connection) => {
                    self.sightings.reached();
                    return Ok((connection, turn));
                }
                // Busy connections say nothing about the server.
                Err(error @ PoolError::Timeout(TimeoutType::Wait)) => return Err(error.into()),
                Err(error) => StoreError::from(error),
            };
            let pause = backoff.next_delay();
            if !error.is_too_many_connections() || Instant::now() + pause >= deadline {
                self.sightings.note(Condition::Unavailable);
                return Err(error);
            }
            let (left, is_news) = self.gate.withhold(turn);
            if is_news {
                tracing::warn!(
                    error = telemetry::chain(&error),
                    wanted = self.most_connections(),
                    usable = left,
                    "PostgreSQL refuses more connections; continuing with fewer. Raise the CONNECTION LIMIT of the role or \
                     database, or max_connections, or lower DATABASE_POOL of the processes that share it"
                );
            }
            // With one turn left there may be no connection at all, so none would ever be released.
            if left == 1 {
                tokio::time::sleep(pause).await;
            }
        }
    }
}
