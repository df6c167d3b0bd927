//! Metrics of the WebSockets on which customers watch orders.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sending {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closing {
    reason: &'static str,
}

/// The WebSockets on which customers watch orders.
#[derive(Debug)]
pub struct LiveMetrics {
    watchers: Gauge,
    messages: Family<Sending, Counter>,
    closed: Family<Closing, Counter>,
    lag: Histogram,
    look: Histogram,
}

impl LiveMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            watchers: Gauge::default(),
            messages: Family::default(),
            closed: Family::default(),
            lag: buckets::times(),
            look: buckets::times(),
        };
        registry.register("orderflow_live_watchers", "Open WebSockets that watch orders", metrics.watchers.clone());
        let help = "Messages to watchers: snapshot, entry, end";
        registry.register("orderflow_live_messages", help, metrics.messages.clone());
        let help = "Closed WebSockets, by reason: final, restart, left (by the client), overloaded (no capacity), silent (no answer to a ping), slow (the client does not read), unasked (the client sent data)";
        registry.register("orderflow_live_closed", help, metrics.closed.clone());
        let help = "From the start of the transaction that changed an order until a watcher is sent the change";
        registry.register_with_unit("orderflow_live_lag", help, Unit::Seconds, metrics.lag.clone());
        let help = "Time to poll the watched orders that may have changed";
        registry.register_with_unit("orderflow_live_look", help, Unit::Seconds, metrics.look.clone());
        metrics
    }

    /// Sets the number of open sockets.
    pub fn watching(&self, sockets: usize) {
        self.watchers.set(i64::try_from(sockets).unwrap_or(i64::MAX));
    }

    /// Counts a message of this type to a watcher.
    pub fn sent(&self, r#type: &'static str) {
        self.messages.get_or_create(&Sending { r#type }).inc();
    }

    /// Counts a closed socket.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Closing { reason }).inc();
    }

    /// Records how long after the start of its transaction a change was sent to a watcher.
    pub fn lag(&self, after: Duration) {
        self.lag.observe(after.as_secs_f64());
    }

    /// Records how long a poll took.
    pub fn polled(&self, took: Duration) {
        self.look.observe(took.as_secs_f64());
    }
}
