//! Exports the result of the last audit as metrics, since `orderflow audit` has ended by the time Prometheus scrapes.

use std::time::Duration;

use orderflow_service::{
    metrics, periodic,
    store::{ANSWER_WITHIN, Connection, Database, audits},
};
use tokio_util::sync::CancellationToken;

/// The interval at which the result is read. Alerts fire only a few minutes later, so a shorter one would not help.
const INTERVAL: Duration = Duration::from_secs(30);

/// Runs until `stop`. Does not log an unavailable database: admission already does.
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
