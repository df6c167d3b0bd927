//! What the database's server says of itself, for `orderflow doctor`.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Bool, Text, Timestamptz},
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
