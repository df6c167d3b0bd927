//! The pool of database connections.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// The pool of database connections.
#[derive(Debug)]
pub struct DatabaseMetrics {
    connections: Family<State, Gauge>,
    waiting: Gauge,
}

impl DatabaseMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { connections: Family::default(), waiting: Gauge::default() };
        let help = "Connections to the database: in use, idle, and the most that there may be";
        registry.register("orderflow_database_connections", help, metrics.connections.clone());
        let help = "Who waits for a connection to the database";
        registry.register("orderflow_database_waiting", help, metrics.waiting.clone());
        metrics
    }

    /// The pool as it is now: connections that there are, those of them that nobody uses, the most that there may be, and
    /// how many wait for one.
    pub fn pool(&self, size: usize, idle: usize, most: usize, waiting: usize) {
        let set = |state, number| {
            self.connections.get_or_create(&State { state }).set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        set("in_use", size.saturating_sub(idle));
        set("idle", idle);
        set("max", most);
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}
