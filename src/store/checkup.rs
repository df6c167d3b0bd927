//! What `orderflow doctor` asks the database. Reads only.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError};

/// What a server says of itself.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// `15.18`, with what its packager added.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Its clock, now.
    #[diesel(sql_type = Timestamptz)]
    pub clock: DateTime<Utc>,
}

/// What the server says of itself.
///
/// # Errors
/// Those of the database.
pub async fn server(connection: &mut Connection) -> Result<Server, StoreError> {
    Ok(diesel::sql_query("SELECT current_setting('server_version') AS version, clock_timestamp() AS clock")
        .get_result(connection)
        .await?)
}
