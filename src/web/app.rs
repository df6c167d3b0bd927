//! The state that every handler of the front end can use.

use orderflow_order::{placing::Placing, token::OrderLinks};
use orderflow_service::{broker::Relay, store::Database};
use tokio_util::sync::CancellationToken;

use super::{
    broker_health::BrokerHealth, live::Live, products::EncodedCatalogue, queue_forecast::QueueForecast,
    rate_limit::RateLimit,
};

/// The state of the front end; one per process.
pub struct App {
    /// Issues and verifies order tokens.
    pub links: OrderLinks,
    /// The connection pool.
    pub database: Database,
    /// Accepts orders.
    pub placing: Placing,
    /// The answer to `GET /products`.
    pub encoded_catalogue: EncodedCatalogue,
    /// Limits how fast one client may place orders; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Publishes events from the outbox.
    pub relay: Relay,
    /// Whether events can be published immediately.
    pub broker: BrokerHealth,
    /// The connections that watch orders.
    pub live: Live,
    /// Queue figures, for estimates.
    pub queue_forecast: QueueForecast,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}
