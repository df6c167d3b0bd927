//! Brings a database's tables up to date.

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::connecting;
use crate::config::DatabaseConfig;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Any number will do that nothing else in the database uses: this one spells "orderflo".
const LOCK: i64 = 0x6f72_6465_7266_6c6f;

/// Why a database is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error("the database cannot be reached")]
    Connect(#[from] diesel::ConnectionError),
    /// The lock that keeps other hosts out could not be had.
    #[error("the lock that keeps two hosts from migrating at once could not be had")]
    Lock(#[from] diesel::result::Error),
    /// A migration failed; it is rolled back, those before it stand.
    #[error("a migration failed: {0}")]
    Migrate(String),
}

/// Runs what has not run yet and returns its names. Many hosts may call this at once: one does it, the others wait.
///
/// Needs a multi-threaded runtime, since diesel's migrations block.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(config: &DatabaseConfig) -> Result<Vec<String>, MigrateError> {
    let driver = connecting::unbounded(config, "orderflow migrate")?;
    let mut connection = connecting::connect(&driver).await?;
    // The lock is the session's: it goes with the connection, however this function ends.
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    tokio::task::block_in_place(|| {
        let done =
            harness.run_pending_migrations(MIGRATIONS).map_err(|error| MigrateError::Migrate(error.to_string()))?;
        Ok(done.iter().map(ToString::to_string).collect())
    })
}

/// Whether every migration that this program knows has run.
///
/// # Errors
/// When the database cannot be asked.
pub async fn are_current(connection: &mut AsyncPgConnection) -> Result<bool, super::StoreError> {
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let exists = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('public.__diesel_schema_migrations') IS NOT NULL",
    ));
    if !exists.get_result::<bool>(connection).await? {
        return Ok(false);
    }
    let applied: Vec<Applied> =
        diesel::sql_query("SELECT version FROM public.__diesel_schema_migrations").load(connection).await?;
    let known = diesel::migration::MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)
        .map_err(|error| super::StoreError::Corrupt(error.to_string()))?;
    Ok(known.iter().all(|migration| applied.iter().any(|row| row.version == migration.name().version().to_string())))
}
