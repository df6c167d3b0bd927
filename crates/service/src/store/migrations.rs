//! Brings a database's tables up to date.

use std::sync::Arc;

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::{Connection, StoreError, connecting};
use crate::config::DatabaseConfig;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Any number will do that nothing else in the database uses: this one spells "orderflo".
const LOCK: i64 = 0x6f72_6465_7266_6c6f;

/// Where the list of what has run is made.
const SCHEMA: &str = "public";

/// Why a database is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error("the database cannot be reached")]
    Connect(#[from] diesel::ConnectionError),
    /// The role may not make what is missing.
    #[error("the role {role} may not set the database up; run as its owner or a superuser: {}", grants.join("; "))]
    Rights {
        /// Who we are there.
        role: String,
        /// The statements that give the rights.
        grants: Vec<String>,
    },
    /// A statement failed before the first migration.
    #[error("the database cannot be prepared for its migrations")]
    Prepare(#[from] StoreError),
    /// A migration failed; it is rolled back, those before it stand.
    #[error("a migration failed: {0}")]
    Migrate(String),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Prepare(error.into())
    }
}

/// Runs what has not run yet and returns its names. Many hosts may call this at once: one does it, the others wait.
/// The role's search_path does not matter.
///
/// Needs a multi-threaded runtime, since diesel's migrations block.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(config: &DatabaseConfig) -> Result<Vec<String>, MigrateError> {
    let driver = connecting::unbounded(config, "orderflow migrate")?;
    let mut connection = Connection::open(&driver, Arc::default()).await?;
    // The lock is the session's: it goes with the connection, however this function ends.
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    let schema = match schema_of_list(&mut connection).await? {
        Some(schema) => schema,
        None => {
            check_rights(&mut connection).await?;
            SCHEMA.to_owned()
        }
    };
    // Diesel names its list without a schema: it would be made in the first one of the search_path, such as the role's own.
    diesel::sql_query("SELECT set_config('search_path', quote_ident($1), false)")
        .bind::<Text, _>(schema)
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
pub async fn are_current(connection: &mut Connection) -> Result<bool, StoreError> {
    let Some(schema) = schema_of_list(connection).await? else { return Ok(false) };
    let applied = applied(connection, &schema).await?;
    Ok(known()?.iter().all(|version| applied.contains(version)))
}

/// The schema whose list of migrations has ours: `public`, unless an earlier version found another one first in its
/// search_path. Another program's list, which Diesel names the same, is left alone.
async fn schema_of_list(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Schema {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let lists: Vec<Schema> = diesel::sql_query(
        "SELECT nspname::text AS name FROM pg_catalog.pg_class AS list
         JOIN pg_catalog.pg_namespace AS schema ON schema.oid = relnamespace
         WHERE relname = '__diesel_schema_migrations' AND relkind = 'r' AND has_schema_privilege(schema.oid, 'USAGE')
         ORDER BY nspname <> $1, nspname",
    )
    .bind::<Text, _>(SCHEMA)
    .load(connection)
    .await?;
    let known = known()?;
    for list in lists {
        let applied = applied(connection, &list.name).await?;
        if known.iter().any(|version| applied.contains(version)) {
            return Ok(Some(list.name));
        }
    }
    Ok(None)
}

/// What has run, by the list in this schema.
async fn applied(connection: &mut Connection, schema: &str) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let schema = schema.replace('"', "\"\"");
    let query = format!("SELECT version::text AS version FROM \"{schema}\".__diesel_schema_migrations");
    let applied: Vec<Applied> = diesel::sql_query(query).load(connection).await?;
    Ok(applied.into_iter().map(|row| row.version).collect())
}

/// The versions of all migrations of this program.
fn known() -> Result<Vec<String>, StoreError> {
    let known = diesel::migration::MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// Whether an empty database can be set up: the schemas are ours, the list of migrations is in `public`.
async fn check_rights(connection: &mut Connection) -> Result<(), MigrateError> {
    #[derive(QueryableByName)]
    struct Rights {
        #[diesel(sql_type = Text)]
        role: String,
        #[diesel(sql_type = Text)]
        quoted_role: String,
        #[diesel(sql_type = Text)]
        quoted_database: String,
        #[diesel(sql_type = Bool)]
        makes_schemas: bool,
        #[diesel(sql_type = Bool)]
        makes_tables: bool,
        #[diesel(sql_type = Bool)]
        has_public: bool,
    }
    let has: Rights = diesel::sql_query(
        "SELECT current_user::text AS role, quote_ident(current_user) AS quoted_role,
                quote_ident(current_database()) AS quoted_database,
                has_database_privilege(current_database(), 'CREATE') AS makes_schemas,
                to_regnamespace('public') IS NOT NULL AS has_public,
                coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE')
                         AND has_schema_privilege(to_regnamespace('public')::oid, 'USAGE'), false) AS makes_tables",
    )
    .get_result(connection)
    .await?;
    let mut grants = Vec::new();
    if !has.makes_schemas {
        grants.push(format!("GRANT CREATE ON DATABASE {} TO {}", has.quoted_database, has.quoted_role));
    }
    if !has.has_public {
        grants.push("CREATE SCHEMA public".to_owned());
    }
    if !has.makes_tables {
        grants.push(format!("GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {}", has.quoted_role));
    }
    if grants.is_empty() { Ok(()) } else { Err(MigrateError::Rights { role: has.role, grants }) }
}
