//! What `orderflow doctor` asks the database. Reads only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz},
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

/// How many dead letters the index has in each subscription's queue. One that somebody moved by hand and that was
/// applied since is not among them.
///
/// # Errors
/// Those of the database.
pub async fn indexed_letters(connection: &mut Connection) -> Result<BTreeMap<String, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        subscription: String,
        #[diesel(sql_type = BigInt)]
        letters: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT subscription, count(*) AS letters FROM messaging.dead_letters AS letter
         WHERE left_at IS NULL AND NOT EXISTS (
             SELECT FROM messaging.inbox AS inbox
             WHERE inbox.event_id = letter.event_id AND inbox.subscription = letter.subscription)
         GROUP BY subscription",
    )
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.subscription, row.letters)).collect())
}
