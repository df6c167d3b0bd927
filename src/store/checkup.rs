//! What the database's server says of itself, for `orderflow doctor`.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};

/// What a server says of itself.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// `15.18`, with what its packager added.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Its clock, now.
    #[diesel(sql_type = Timestamptz)]
    pub clock: DateTime<Utc>,
    /// It accepts reads only.
    #[diesel(sql_type = Bool)]
    pub is_read_only: bool,
    /// It is a standby, which follows another server.
    #[diesel(sql_type = Bool)]
    pub is_standby: bool,
}

/// What the server says of itself.
///
/// # Errors
/// Those of the database.
pub async fn server(connection: &mut Connection) -> Result<Server, StoreError> {
    Ok(diesel::sql_query(
        "SELECT current_setting('server_version') AS version, clock_timestamp() AS clock,
                current_setting('transaction_read_only')::bool AS is_read_only, pg_is_in_recovery() AS is_standby",
    )
    .get_result(connection)
    .await?)
}

/// The connections of one role to this database, this one left out.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RoleConnections {
    /// The role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// How many it has.
    #[diesel(sql_type = BigInt)]
    pub connections: i64,
    /// Whether row security does not hold it: it owns the tables, or is a superuser.
    #[diesel(sql_type = Bool)]
    pub is_unrestricted: bool,
}

/// Returns who is connected to this database, at most 100 roles.
///
/// # Errors
/// Those of the database.
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
