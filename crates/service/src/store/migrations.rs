//! Brings a database's tables up to date: first the shared ones, then each service's own.

use std::{fmt, sync::Arc};

use diesel::{ConnectionError, QueryableByName, sql_types::Text};
use diesel_async::{AsyncConnection as _, AsyncMigrationHarness, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use tokio_postgres::error::SqlState;

use super::{
    Connection, StoreError, connecting,
    lock_holders::{self, Holders, Watcher},
    migration_rights::Rights,
};
use crate::config::{DatabaseConfig, set_by};

/// The tables of all services as of today, and later changes to what they share. A service's later migrations are in
/// its own folder.
const SHARED: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The migrations of one service. They run in its schema, which keeps its own list of what has run, so versions do not
/// conflict with those of other sets.
#[derive(Clone, Copy)]
pub struct MigrationSet {
    /// The service.
    pub service: &'static str,
    migrations: fn() -> EmbeddedMigrations,
}

impl MigrationSet {
    /// Returns the set of this service.
    #[must_use]
    pub const fn new(service: &'static str, migrations: fn() -> EmbeddedMigrations) -> Self {
        Self { service, migrations }
    }

    /// Returns the schema that the migrations run in: the service's name, with `_` for `-`.
    #[must_use]
    pub fn schema(&self) -> String {
        self.service.replace('-', "_")
    }
}

impl fmt::Debug for MigrationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationSet").field("service", &self.service).finish_non_exhaustive()
    }
}

/// Any key that nothing else in the database uses: this one spells "orderflo".
const LOCK: i64 = 0x6f72_6465_7266_6c6f;

/// How long to wait for a table's lock. Every other user of the table queues behind us, so a backup that holds it for
/// an hour must not make us wait: customers' requests have 5 s for a lock.
const LOCK_TIMEOUT: &str = "3s";

/// How long to wait for another host that is migrating. Nobody else queues behind us for that.
const OTHER_HOSTS: &str = "5min";

/// The schema in which the list of migrations is created.
const SCHEMA: &str = "public";

/// Why a database could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error("the database cannot be reached")]
    Connect(#[from] diesel::ConnectionError),
    /// The role may not create what is missing.
    #[error("the role {role} may not set the database up; run as its owner or a superuser: {}", grants.join("; "))]
    Rights {
        /// The role that we are connected as.
        role: String,
        /// The statements that grant the missing rights.
        grants: Vec<String>,
    },
    /// A statement failed before the first migration.
    #[error("the database cannot be prepared for its migrations")]
    Prepare(#[from] StoreError),
    /// A lock could not be acquired in time. Migrations that have already run remain.
    #[error(
        "a lock could not be acquired in time: it is held by {0}. Nothing is waiting for it now; run this again when that session has \
         ended its transaction"
    )]
    Locked(Holders),
    /// A migration failed and was rolled back; those before it remain.
    #[error("a migration failed: {0}")]
    Migrate(String),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Prepare(error.into())
    }
}

/// Runs the pending migrations and returns their names: the shared ones first, then those of each service, prefixed
/// with its name. Many hosts may call this concurrently: one migrates, the others wait. The role's search_path does not
/// matter.
///
/// Needs a multi-threaded runtime, because Diesel's migrations block.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(config: &DatabaseConfig, services: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    let (connection, watcher) = connected(config).await?;
    naming_holders(&watcher, run_all(connection, services)).await
}

async fn run_all(mut connection: Connection, services: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    be_alone(&mut connection).await?;
    let schema = match schema_of_list(&mut connection, services).await? {
        Some(schema) => schema,
        None => {
            Rights::read(&mut connection, SCHEMA).await?.check_shared()?;
            SCHEMA.to_owned()
        }
    };
    let (connection, mut done) = run_pending(connection, &schema, SHARED).await?;
    done.extend(run_sets(connection, services).await?);
    Ok(done)
}

/// Like [`run`], for these services only: for a program whose service is registered at a shop, since the shop owns the
/// shared tables.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run_services(config: &DatabaseConfig, services: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    let (mut connection, watcher) = connected(config).await?;
    let running = async {
        be_alone(&mut connection).await?;
        run_sets(connection, services).await
    };
    naming_holders(&watcher, running).await
}

/// Opens a connection that waits for no lock longer than [`LOCK_TIMEOUT`], unless the URL says otherwise. Also starts
/// to watch who holds the locks that it waits for, if the server has a connection left for that.
async fn connected(config: &DatabaseConfig) -> Result<(Connection, Option<Watcher>), MigrateError> {
    let server = connecting::unbounded(&config.directly(), "orderflow migrate")?;
    let mut connection = Connection::open(&server, Arc::default()).await?;
    let own = set_by(server.driver.get_options().unwrap_or_default()).map_err(ConnectionError::InvalidConnectionUrl)?;
    if !own.contains("lock_timeout") {
        diesel::sql_query(format!("SET lock_timeout = '{LOCK_TIMEOUT}'")).execute(&mut connection).await?;
    }
    let pid = lock_holders::pid(&mut connection).await?;
    let looking = Connection::open(&server, Arc::default()).await.ok();
    Ok((connection, looking.map(|looking| Watcher::start(looking, pid))))
}

/// Waits until no other host is migrating. The lock belongs to the session, so it ends with the connection, however the
/// caller ends.
async fn be_alone(connection: &mut Connection) -> Result<(), MigrateError> {
    let locking = async |connection: &mut Connection| {
        diesel::sql_query(format!("SET LOCAL lock_timeout = '{OTHER_HOSTS}'")).execute(connection).await?;
        let lock = diesel::sql_query("SELECT pg_advisory_lock($1)").bind::<diesel::sql_types::BigInt, _>(LOCK);
        lock.execute(connection).await.map(drop)
    };
    Ok(connection.transaction::<_, diesel::result::Error, _>(locking).await?)
}

/// Runs `running`, and names the lock's holders if a lock could not be acquired.
async fn naming_holders<T>(
    watcher: &Option<Watcher>,
    running: impl Future<Output = Result<T, MigrateError>>,
) -> Result<T, MigrateError> {
    let holders = || watcher.as_ref().map_or(Holders(Vec::new()), Watcher::seen);
    running.await.map_err(|error| match error {
        MigrateError::Locked(_) => MigrateError::Locked(holders()),
        MigrateError::Prepare(error) if error.is_lock_timeout() => MigrateError::Locked(holders()),
        other => other,
    })
}

async fn run_sets(mut connection: Connection, services: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    let mut done = Vec::new();
    for set in services {
        let schema = set.schema();
        if !has_list(&mut connection, &schema).await? {
            make_schema(&mut connection, &schema).await?;
        }
        let (returned, of_service) = run_pending(connection, &schema, (set.migrations)()).await?;
        connection = returned;
        done.extend(of_service.into_iter().map(|name| format!("{}/{name}", set.service)));
    }
    Ok(done)
}

/// Runs the migrations that the list in this schema does not have. Returns the connection and their names.
async fn run_pending(
    mut connection: Connection,
    schema: &str,
    migrations: EmbeddedMigrations,
) -> Result<(Connection, Vec<String>), MigrateError> {
    // Diesel names its list without a schema, so it would create it in the first schema of the search_path, such as the
    // role's own.
    diesel::sql_query("SELECT set_config('search_path', quote_ident($1), false)")
        .bind::<Text, _>(schema)
        .execute(&mut connection)
        .await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let done = tokio::task::block_in_place(|| {
        let done = harness.run_pending_migrations(migrations);
        done.map(|done| done.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    });
    let connection = harness.into_inner();
    match done {
        Ok(done) => Ok((connection, done)),
        // Diesel hides the error in a type of its own, which it does not export.
        Err(_) if connection.last_state() == Some(SqlState::LOCK_NOT_AVAILABLE) => {
            Err(MigrateError::Locked(Holders(Vec::new())))
        }
        Err(why) => Err(MigrateError::Migrate(why)),
    }
}

/// Creates a service's schema, unless an earlier migration has done so.
async fn make_schema(connection: &mut Connection, schema: &str) -> Result<(), MigrateError> {
    let rights = Rights::read(connection, schema).await?;
    rights.check_service()?;
    if !rights.has_schema {
        diesel::sql_query(format!("CREATE SCHEMA {}", quoted(schema))).execute(connection).await?;
    }
    Ok(())
}

/// The tables that are missing or out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    /// The tables that all services share.
    Shared,
    /// The tables of this service.
    Service(&'static str),
}

/// Returns whether every shared migration that this program knows has run, and every one of these services.
///
/// # Errors
/// Returns database errors.
pub async fn are_current(connection: &mut Connection, services: &[MigrationSet]) -> Result<bool, StoreError> {
    Ok(outdated(connection, services).await?.is_none())
}

/// Returns the first tables with a pending migration: the shared ones, or those of one of these services.
///
/// # Errors
/// Returns database errors.
pub async fn outdated(connection: &mut Connection, services: &[MigrationSet]) -> Result<Option<Outdated>, StoreError> {
    let Some(schema) = schema_of_list(connection, services).await? else { return Ok(Some(Outdated::Shared)) };
    if !have_run(connection, &schema, &SHARED).await? {
        return Ok(Some(Outdated::Shared));
    }
    for set in services {
        let schema = set.schema();
        if !has_list(connection, &schema).await? || !have_run(connection, &schema, &(set.migrations)()).await? {
            return Ok(Some(Outdated::Service(set.service)));
        }
    }
    Ok(None)
}

async fn have_run(
    connection: &mut Connection,
    schema: &str,
    migrations: &EmbeddedMigrations,
) -> Result<bool, StoreError> {
    let applied = applied(connection, schema).await?;
    Ok(versions(migrations)?.iter().all(|version| applied.contains(version)))
}

/// Returns the schema whose list has the shared migrations: `public`, unless an earlier version found another schema
/// first in its search_path.
///
/// Ignores the lists of other programs, which Diesel gives the same name, and those of services, which may share
/// versions with ours. Our list must include our first migration; of several, the one with most of ours counts.
async fn schema_of_list(connection: &mut Connection, services: &[MigrationSet]) -> Result<Option<String>, StoreError> {
    let of_services: Vec<_> = services.iter().map(MigrationSet::schema).collect();
    let known = versions(&SHARED)?;
    let mut found: Option<(usize, String)> = None;
    for schema in schemas_with_list(connection).await? {
        let applied = applied(connection, &schema).await?;
        let is_ours =
            known.as_slice().first().is_some_and(|first| applied.contains(first)) && !of_services.contains(&schema);
        let count = known.iter().filter(|version| applied.contains(version)).count();
        if is_ours && found.as_ref().is_none_or(|(most, _)| count > *most) {
            found = Some((count, schema));
        }
    }
    Ok(found.map(|(_, schema)| schema))
}

/// Returns the schemas in which Diesel keeps a list of migrations, `public` first.
async fn schemas_with_list(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Schema {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let schemas: Vec<Schema> = diesel::sql_query(
        "SELECT nspname::text AS name FROM pg_catalog.pg_class AS list
         JOIN pg_catalog.pg_namespace AS schema ON schema.oid = relnamespace
         WHERE relname = '__diesel_schema_migrations' AND relkind = 'r' AND has_schema_privilege(schema.oid, 'USAGE')
           AND has_table_privilege(list.oid, 'SELECT')
         ORDER BY nspname <> $1, nspname",
    )
    .bind::<Text, _>(SCHEMA)
    .load(connection)
    .await?;
    Ok(schemas.into_iter().map(|schema| schema.name).collect())
}

async fn has_list(connection: &mut Connection, schema: &str) -> Result<bool, StoreError> {
    Ok(schemas_with_list(connection).await?.iter().any(|name| name == schema))
}

/// Returns the versions that have run, by the list in this schema.
async fn applied(connection: &mut Connection, schema: &str) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let query = format!("SELECT version::text AS version FROM {}.__diesel_schema_migrations", quoted(schema));
    let applied: Vec<Applied> = diesel::sql_query(query).load(connection).await?;
    Ok(applied.into_iter().map(|row| row.version).collect())
}

fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

/// Returns the versions of these migrations, in order.
fn versions(migrations: &EmbeddedMigrations) -> Result<Vec<String>, StoreError> {
    let known = diesel::migration::MigrationSource::<diesel::pg::Pg>::migrations(migrations)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}
