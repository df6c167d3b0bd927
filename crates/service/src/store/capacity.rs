//! Reads how many connections PostgreSQL allows, and who uses them.

use std::fmt;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Text},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError};

/// The smallest limit on connections that applies to one role, and how many connections count against it. Only the
/// server's limit applies to superusers.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Capacity {
    /// The role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The most connections: the smallest limit of role, database and server.
    #[diesel(sql_type = Integer)]
    pub limit: i32,
    /// The name of that limit.
    #[diesel(sql_type = Text)]
    pub limited_by: String,
    /// Connections that count against the limit now, including ours.
    #[diesel(sql_type = BigInt)]
    pub in_use: i64,
    /// Our processes that are connected as this role, excluding operators' commands.
    #[diesel(sql_type = BigInt)]
    pub programs: i64,
}

impl Capacity {
    /// Reads the capacity of the role that we are connected as.
    ///
    /// # Errors
    /// Returns database errors.
    pub async fn own(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(diesel::sql_query(format!("{CAPACITY} WHERE rolname = current_user")).get_result(connection).await?)
    }

    /// Reads the capacity of each of these roles that exists.
    ///
    /// # Errors
    /// Returns database errors.
    pub async fn of(connection: &mut Connection, roles: &[String]) -> Result<Vec<Self>, StoreError> {
        let reading = diesel::sql_query(format!("{CAPACITY} WHERE rolname = ANY ($1) ORDER BY rolname"));
        Ok(reading.bind::<Array<Text>, _>(roles).load(connection).await?)
    }

    /// Returns whether this many connections would fit if nobody else used any.
    #[must_use]
    pub fn allows(&self, connections: usize) -> bool {
        usize::try_from(self.limit).is_ok_and(|limit| limit >= connections)
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, limit, limited_by, in_use, .. } = self;
        write!(f, "{limited_by} allows {role} {limit} connections; {in_use} are in use")
    }
}

/// `-1` means no limit. Connections reserved for superusers do not count for us. Every role may see who is connected as
/// which role.
const CAPACITY: &str = "
SELECT rolname::text AS role, lowest.value AS \"limit\", lowest.name AS limited_by,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE usename IS NOT NULL AND CASE lowest.name
            WHEN 'the role''s CONNECTION LIMIT' THEN usename = rolname
            WHEN 'the database''s CONNECTION LIMIT' THEN datname = current_database()
            ELSE true END) AS in_use,
       (SELECT count(DISTINCT application_name) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND usename = rolname AND application_name ~ '^orderflow(-worker| console)? @') AS programs
FROM pg_catalog.pg_roles,
LATERAL (
    SELECT value, name FROM (VALUES
        (CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END, 'the role''s CONNECTION LIMIT'),
        (CASE WHEN rolsuper THEN -1 ELSE (SELECT datconnlimit FROM pg_catalog.pg_database
                                          WHERE datname = current_database()) END, 'the database''s CONNECTION LIMIT'),
        (current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
         - coalesce(current_setting('reserved_connections', true)::integer, 0), 'max_connections')
    ) AS limits (value, name)
    WHERE value >= 0 ORDER BY value LIMIT 1
) AS lowest";
