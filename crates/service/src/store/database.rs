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

/// A connection that goes back to its pool, unless it is broken: then it is closed. Broken is one whose transaction was
/// left open by a panic or a time-out, which would keep its locks in the pool; one that the server has ended; and one
/// whose session is read-only, which it stays when the database is not any more.
///
/// Its turn ends after that: the next task to get a turn finds a free connection.
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
            None => unreachable!("only dropping takes it"),
        }
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("only dropping takes it"),
        }
    }
}

/// How long we wait for a free connection, and for a new one to be made. PostgreSQL may refuse a new one because it has too many:
/// then we wait for a free one for as long.
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(5);

/// What a statement or a few of them may take that usually take milliseconds: whoever asks is answered, if only that the
/// database is away.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A bounded pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Connection>,
    gate: Arc<Gate>,
    /// PostgreSQL itself, where the pool leads to a pooler in transaction mode.
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
    /// A pool of at most `size` connections, made when they are first needed. `program` is what
    /// `pg_stat_activity` shows as their application name.
    ///
    /// Connections live on the tokio runtime that this is called on, whoever asks for one: a connection whose
    /// background task runs on an actix-web worker's runtime would end with that worker.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(config: &DatabaseConfig, program: &str, size: usize) -> Result<Self, ConnectionError> {
        Self::open(config, program, &[], size)
    }

    /// As [`Database::new`], for statements that find rows by key: PostgreSQL uses indexes however large or new the tables are. Do not
    /// use it for reports over much of a table, which it makes slower.
    ///
    /// # Errors
    /// When the URL cannot be read.
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
        // A dead connection shows at its first statement, and every caller has to cope with that anyway.
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

    /// What the database lately showed to be unable to do. Costs no statement.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.sightings.condition()
    }

    /// The most connections of the pool.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.pool.status().max_size
    }

    /// Tells the metrics how the pool is now.
    pub fn measure(&self) {
        let now = self.pool.status();
        metrics::get().database.pool(now.size, now.available, now.max_size, self.gate.waiting());
    }

    /// Does `work` on a connection, for at most `bound` together with the wait for one. After that the connection is closed
    /// and not pooled again: the server may never have got the question, or its answer was lost, and nothing but our own
    /// clock tells. Its own bounds (`statement_timeout`) are of no use to whom its answer does not reach.
    ///
    /// # Errors
    /// Those of the work; [`StoreError::TimedOut`], after which the work may be done all the same; and when there is no
    /// connection.
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

    /// Whether the server answers within `bound`. That there is a connection says little: it may be a dead one.
    pub async fn answers(&self, bound: Duration) -> bool {
        let asking = async |connection: &mut Connection| {
            Ok::<_, StoreError>(diesel::sql_query("SELECT 1").execute(connection).await?)
        };
        self.run(bound, asking).await.is_ok()
    }

    /// Whether the pool leads to a pooler in transaction mode.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.direct.is_some()
    }

    /// A connection that is the caller's own, with a session of PostgreSQL of its own, and never goes back to the pool, which may make
    /// another one in its place.
    ///
    /// # Errors
    /// As for [`Database::connection`].
    pub async fn own_connection(&self) -> Result<Connection, StoreError> {
        if let Some(direct) = self.direct.clone() {
            let seen = Arc::clone(&self.sightings);
            let opening = self.runtime.spawn(async move { Connection::open(&direct, seen).await });
            let opened = opening.await.map_err(|error| ConnectionError::BadConnection(error.to_string())).flatten();
            return Ok(opened.map_err(|error| PoolError::Backend(SetupError::ConnectionError(error)))?);
        }
        Ok(Object::take(self.pooled().await?.0))
    }

    /// A connection, after at most ten seconds. Who takes one bounds what they do with it, in a transaction, so that it is
    /// closed and not pooled when the time is over; for all else there is [`Database::run`].
    ///
    /// # Errors
    /// When none is free or can be made in time.
    pub async fn connection(&self) -> Result<PooledConnection, StoreError> {
        let (connection, turn) = self.pooled().await?;
        Ok(PooledConnection { connection: Some(connection), _turn: turn })
    }

    async fn pooled(&self) -> Result<(Object<Connection>, Turn), StoreError> {
        let deadline = Instant::now() + WAIT_FOR_CONNECTION;
        let mut backoff = Backoff::default();
        loop {
            let turn = self.gate.turn(deadline).await.ok_or(PoolError::Timeout(TimeoutType::Wait))?;
            let error = match self.pool.get().await {
                Ok(connection) => {
                    self.sightings.reached();
                    return Ok((connection, turn));
                }
                // That all connections are busy says nothing about the server.
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
                    "PostgreSQL refuses more connections; going on with fewer. Raise the CONNECTION LIMIT of the role or \
                     database, or max_connections, or lower DATABASE_POOL of the processes that share it"
                );
            }
            // With one left it may be that there is none at all: then nobody will give one back.
            if left == 1 {
                tokio::time::sleep(pause).await;
            }
        }
    }
}
