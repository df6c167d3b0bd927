//! Deletes old rows, in small statements that block nobody. Each process deletes only what its own role may write.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
    telemetry,
};

/// How often a process deletes old rows.
const INTERVAL: Duration = Duration::from_secs(600);

/// Rows per statement; deleting them takes a few milliseconds.
const AT_ONCE: i64 = 1_000;

/// The wait between two statements while more rows are left.
const BREATH: Duration = Duration::from_millis(200);

/// Deletes at most the given number of old rows and returns how many it deleted.
pub type Forget = for<'c> fn(&'c mut Connection, i64) -> BoxFuture<'c, Result<usize, StoreError>>;

/// Deletes old rows every ten minutes until `stop`. Processes that delete from the same table do not wait for each
/// other, provided that `forget` skips locked rows.
pub async fn run(database: Database, forget: Forget, stop: CancellationToken) {
    while periodic::pause(INTERVAL, &stop).await {
        loop {
            let forgetting = async |connection: &mut Connection| forget(connection, AT_ONCE).await;
            match database.run(ANSWER_WITHIN, forgetting).await {
                Ok(forgotten) if i64::try_from(forgotten).is_ok_and(|forgotten| forgotten < AT_ONCE) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "cannot delete old rows; the next attempt is in ten minutes"
                    );
                    break;
                }
            }
            if !periodic::pause(BREATH, &stop).await {
                return;
            }
        }
    }
}
