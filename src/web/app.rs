//! What every handler of the front end can use.

use orderflow_order::{placing::Placing, token::OrderLinks};
use orderflow_service::{broker::Relay, store::Database};
use tokio_util::sync::CancellationToken;

use super::{broker_health::BrokerHealth, live::Live, queue_forecast::QueueForecast, rate_limit::RateLimit};

/// One for the process.
pub struct App {
    /// Makes and checks the tokens of orders.
    pub links: OrderLinks,
    /// The pool.
    pub database: Database,
    /// Takes orders.
    pub placing: Placing,
    /// How fast one client may order; `None`: as fast as it likes.
    pub rate_limit: Option<RateLimit>,
    /// The events' way out.
    pub relay: Relay,
    /// Whether events get away at once.
    pub broker: BrokerHealth,
    /// Those who watch orders.
    pub live: Live,
    /// How things go, for estimates.
    pub queue_forecast: QueueForecast,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}
