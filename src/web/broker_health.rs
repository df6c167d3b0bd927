//! Whether the broker takes events.

use std::time::Duration;

use orderflow_service::{
    broker::{BrokerCheck, NotReady, Publisher},
    periodic,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the broker is asked whether the exchange is there.
const INTERVAL: Duration = Duration::from_secs(5);

/// Whether events get away at once. Orders are taken either way: without a broker their events wait in the outbox.
#[derive(Debug, Clone)]
pub struct BrokerHealth {
    publisher: Publisher,
    exchange: watch::Receiver<bool>,
}

impl BrokerHealth {
    /// Starts to ask the broker, on the current runtime, until `stop`: a connection must not belong to a request.
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
