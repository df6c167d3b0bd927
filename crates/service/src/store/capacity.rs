//! How many connections PostgreSQL allows, and who has them.

use std::fmt;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Text},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError};

/// What one role may have and has. Superusers have the server's limit alone.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Capacity {
    /// The role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The most connections: the smallest limit of role, database and server.
    #[diesel(sql_type = Integer)]
    pub limit: i32,
    /// Whose limit that is.
    #[diesel(sql_type = Text)]
    pub limited_by: String,
    /// Connections that count against the limit now, ours among them.
    #[diesel(sql_type = BigInt)]
    pub in_use: i64,
    /// Processes of ours that are connected as this role, beside operators' commands.
    #[diesel(sql_type = BigInt)]
    pub programs: i64,
}

impl Capacity {
    /// Reads what the role has that we are.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn own(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(diesel::sql_query(format!("{CAPACITY} WHERE rolname = current_user")).get_result(connection).await?)
    }

    /// Reads what these roles have, of those that exist.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(connection: &mut Connection, roles: &[String]) -> Result<Vec<Self>, StoreError> {
        let reading = diesel::sql_query(format!("{CAPACITY} WHERE rolname = ANY ($1) ORDER BY rolname"));
        Ok(reading.bind::<Array<Text>, _>(roles).load(connection).await?)
    }

    /// Whether so many connections fit, if nobody else took one.
    #[must_use]
    pub fn allows(&self, connections: usize) -> bool {
        usize::try_from(self.limit).is_ok_and(|limit| limit >= connections)
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, limit, limited_by, in_use, .. } = self;
        write!(f, "{limited_by} allows {role} {limit} connections, of which {in_use} are in use")
    }
}

/// `-1` is no limit. Connections that are reserved for superusers are none for us. Who is connected as whom everybody may see.
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
