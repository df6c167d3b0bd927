//! Whether the broker accepts events.

use std::time::Duration;

use orderflow_service::{
    broker::{BrokerCheck, NotReady, Publisher},
    periodic,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often to check that the exchange exists.
const INTERVAL: Duration = Duration::from_secs(5);

/// Whether events can be published immediately. Orders are accepted either way: without a broker, their events wait in
/// the outbox.
#[derive(Debug, Clone)]
pub struct BrokerHealth {
    publisher: Publisher,
    exchange: watch::Receiver<bool>,
}

impl BrokerHealth {
    /// Starts a task on the current runtime that checks the broker until `stop`. A task of its own, because a
    /// connection must not belong to a request.
    #[must_use]
    pub fn start(publisher: Publisher, check: BrokerCheck, stop: CancellationToken) -> Self {
        let (sender, exchange) = watch::channel(false);
        tokio::spawn(async move {
            let mut reported = None;
            loop {
                let found = check.exchange_exists().await;
                if let Err(missing @ (NotReady::Missing(_) | NotReady::NoVhost(_))) = &found
                    && reported.as_ref() != Some(&found)
                {
                    tracing::warn!("{missing}");
                }
                sender.send_replace(found.is_ok());
                reported = Some(found);
                if !periodic::pause(INTERVAL, &stop).await {
                    return;
                }
            }
        });
        Self { publisher, exchange }
    }

    /// Returns `ok` or `degraded`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        if self.publisher.is_connected() && *self.exchange.borrow() { "ok" } else { "degraded" }
    }
}
