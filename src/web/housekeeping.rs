//! Forgets what is old, in small deletes that hold up nobody: idempotency keys after a day, failed attempts and what
//! operators threw away after 90.

use std::time::Duration;

use orderflow_order::store::idempotency;
use orderflow_service::{
    periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError, failures},
    telemetry,
};
use tokio_util::sync::CancellationToken;

use crate::store::discarded;

/// How often we look.
const INTERVAL: Duration = Duration::from_secs(600);

/// Rows forgotten by one statement, which takes some milliseconds.
const AT_ONCE: i64 = 1_000;

/// The wait between two such statements while there is more to forget.
const BREATH: Duration = Duration::from_millis(200);

/// Runs until `stop`. Every front end does so; they do not wait for each other.
pub async fn run(database: Database, stop: CancellationToken) {
    while periodic::pause(INTERVAL, &stop).await {
        loop {
            match forget(&database).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(error = telemetry::chain(&error), "what is old could not be deleted");
                    break;
                }
            }
            if !periodic::pause(BREATH, &stop).await {
                return;
            }
        }
    }
}

/// One step; whether there may be more.
async fn forget(database: &Database) -> Result<bool, StoreError> {
    let forgetting = async |connection: &mut Connection| {
        let keys = idempotency::forget_old(connection, AT_ONCE).await?;
        let thrown_away = discarded::forget_old(connection, AT_ONCE).await?;
        Ok::<_, StoreError>(keys.max(failures::forget_old(connection, AT_ONCE).await?).max(thrown_away))
    };
    let forgotten = database.run(ANSWER_WITHIN, forgetting).await?;
    Ok(i64::try_from(forgotten).unwrap_or(i64::MAX) == AT_ONCE)
}
