//! Tells the metrics how the last audit ended, since `orderflow audit` is gone when Prometheus asks.

use std::time::Duration;

use orderflow_service::{
    metrics, periodic,
    store::{ANSWER_WITHIN, Connection, Database, audits},
};
use tokio_util::sync::CancellationToken;

/// How often we look: a person is called some minutes later anyway.
const INTERVAL: Duration = Duration::from_secs(30);

/// Runs until `stop`. That the database is away is not told here: admission says so at once.
pub async fn run(database: Database, stop: CancellationToken) {
    loop {
        let asking = async |connection: &mut Connection| audits::last(connection).await;
        if let Ok(Some(last)) = database.run(ANSWER_WITHIN, asking).await {
            metrics::get().audit.ended(last.finished_at, last.violations);
        }
        if !periodic::pause(INTERVAL, &stop).await {
            return;
        }
    }
}
