//! What the database server reports about itself, for `orderflow doctor`.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};

/// What the server reports about itself.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// `15.18`, with the packager's suffix.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Its current time.
    #[diesel(sql_type = Timestamptz)]
    pub clock: DateTime<Utc>,
    /// Whether it accepts only reads.
    #[diesel(sql_type = Bool)]
    pub is_read_only: bool,
    /// Whether it is a standby that follows another server.
    #[diesel(sql_type = Bool)]
    pub is_standby: bool,
}

/// Returns what the server reports about itself.
///
/// # Errors
/// Returns database errors.
pub async fn server(connection: &mut Connection) -> Result<Server, StoreError> {
    Ok(diesel::sql_query(
        "SELECT current_setting('server_version') AS version, clock_timestamp() AS clock,
                current_setting('transaction_read_only')::bool AS is_read_only, pg_is_in_recovery() AS is_standby",
    )
    .get_result(connection)
    .await?)
}

/// The connections of one role to this database, without our own.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RoleConnections {
    /// The role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The number of connections.
    #[diesel(sql_type = BigInt)]
    pub connections: i64,
    /// Whether it bypasses row security: it owns the tables, has BYPASSRLS, or is a superuser.
    #[diesel(sql_type = Bool)]
    pub is_unrestricted: bool,
}

/// Returns the roles connected to this database, at most 100.
///
/// # Errors
/// Returns database errors.
pub async fn connected_roles(connection: &mut Connection) -> Result<Vec<RoleConnections>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT rolname::text AS role, count(*) AS connections,
                rolsuper OR rolbypassrls OR rolname = (
                    SELECT pg_get_userbyid(relowner) FROM pg_catalog.pg_class WHERE oid = 'messaging.event_log'::regclass
                ) AS is_unrestricted
         FROM pg_catalog.pg_stat_activity JOIN pg_catalog.pg_roles ON pg_roles.oid = usesysid
         WHERE datname = current_database() AND pid <> pg_backend_pid()
         GROUP BY rolname, rolsuper, rolbypassrls ORDER BY rolname LIMIT 100",
    )
    .load(connection)
    .await?)
}
