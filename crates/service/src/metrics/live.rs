//! Orders, as customers watch them.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Telling {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closing {
    reason: &'static str,
}

/// Orders, as customers watch them.
#[derive(Debug)]
pub struct LiveMetrics {
    watchers: Gauge,
    messages: Family<Telling, Counter>,
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
        registry.register(
            "orderflow_live_watchers",
            "Sockets by which orders are watched now",
            metrics.watchers.clone(),
        );
        let help = "Messages to watchers: snapshot, entry, end";
        registry.register("orderflow_live_messages", help, metrics.messages.clone());
        let help = "Sockets that ended: final, restart, left by their watcher, overloaded (no place for it), silent (no answer to a ping), slow (it does not read), unasked (it sent something)";
        registry.register("orderflow_live_closed", help, metrics.closed.clone());
        let help = "From the beginning of the transaction that moved an order until a watcher is sent it";
        registry.register_with_unit("orderflow_live_lag", help, Unit::Seconds, metrics.lag.clone());
        let help = "How long a look took at the watched orders that may have moved";
        registry.register_with_unit("orderflow_live_look", help, Unit::Seconds, metrics.look.clone());
        metrics
    }

    /// So many sockets are open.
    pub fn watching(&self, sockets: usize) {
        self.watchers.set(i64::try_from(sockets).unwrap_or(i64::MAX));
    }

    /// A watcher is sent a message of this type.
    pub fn told(&self, r#type: &'static str) {
        self.messages.get_or_create(&Telling { r#type }).inc();
    }

    /// A socket ended.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Closing { reason }).inc();
    }

    /// A watcher was told of a move, so long after its transaction began.
    pub fn lag(&self, after: Duration) {
        self.lag.observe(after.as_secs_f64());
    }

    /// A look took so long.
    pub fn polled(&self, took: Duration) {
        self.look.observe(took.as_secs_f64());
    }
}
