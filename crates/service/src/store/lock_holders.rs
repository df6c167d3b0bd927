//! Finds the sessions that hold the locks that another session waits for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Integer, Text},
};
use diesel_async::RunQueryDsl as _;
use tokio_util::task::AbortOnDropHandle;

use super::{Connection, StoreError};

/// The time between two checks: several fit into the shortest wait.
const EVERY: Duration = Duration::from_millis(200);

/// A session that blocks another.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Holder {
    /// Its process id on the server.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// The application name of its program, such as `pg_dump`; PostgreSQL shows the name of another role's program only
    /// to `pg_monitor`.
    #[diesel(sql_type = Text)]
    pub program: String,
    /// The role that it is connected as.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The age of its transaction, in seconds.
    #[diesel(sql_type = BigInt)]
    pub seconds: i64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, program, role, seconds } = self;
        let program = if program.is_empty() { "an unnamed program" } else { program };
        write!(f, "pid {pid}: {program}, role {role}, transaction open for {seconds} s")
    }
}

/// The sessions that blocked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders(pub Vec<Holder>);

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("another session");
        }
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

/// Checks from its own connection, because a waiting connection cannot. PostgreSQL shows who holds a lock only while
/// another session waits for it.
pub(super) struct Watcher {
    seen: Arc<Mutex<Vec<Holder>>>,
    _looking: AbortOnDropHandle<()>,
}

impl Watcher {
    /// Starts checking who blocks the session with this `pid`, until the watcher is dropped.
    pub(super) fn start(mut connection: Connection, pid: i32) -> Self {
        let seen: Arc<Mutex<Vec<Holder>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let looking = tokio::spawn(async move {
            while let Ok(holders) = holders(&mut connection, pid).await {
                if !holders.is_empty() {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = holders;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, _looking: AbortOnDropHandle::new(looking) }
    }

    /// Returns the sessions that blocked last.
    pub(super) fn seen(&self) -> Holders {
        Holders(self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn holders(connection: &mut Connection, pid: i32) -> Result<Vec<Holder>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT pid, coalesce(application_name, '') AS program, coalesce(usename::text, 'unknown') AS role,
                coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::bigint AS seconds
         FROM pg_catalog.pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1)) ORDER BY xact_start, pid LIMIT 10",
    )
    .bind::<Integer, _>(pid)
    .load(connection)
    .await?)
}

/// Returns the process id of this connection on the server.
pub(super) async fn pid(connection: &mut Connection) -> Result<i32, StoreError> {
    #[derive(QueryableByName)]
    struct Own {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    Ok(diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Own>(connection).await?.pid)
}
