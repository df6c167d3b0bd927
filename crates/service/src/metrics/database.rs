//! Metrics of the connection pool and of refusals by the database.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    condition: &'static str,
}

/// The state of the connection pool, and refusals that concern the whole database.
#[derive(Debug)]
pub struct DatabaseMetrics {
    connections: Family<State, Gauge>,
    waiting: Gauge,
    refusals: Family<Refused, Counter>,
}

impl DatabaseMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { connections: Family::default(), waiting: Gauge::default(), refusals: Family::default() };
        let help = "Connections to the database, by state: in_use, idle, max (the pool's limit)";
        registry.register("orderflow_database_connections", help, metrics.connections.clone());
        let help = "Callers waiting for a connection to the database";
        registry.register("orderflow_database_waiting", help, metrics.waiting.clone());
        let help = "Refusals that concern the whole database: read_only, full, unavailable";
        registry.register("orderflow_database_refusals", help, metrics.refusals.clone());
        // Alerts compare with the previous value: without an initial 0 they would miss the first refusal.
        for condition in ["read_only", "full", "unavailable"] {
            drop(metrics.refusals.get_or_create(&Refused { condition }));
        }
        metrics
    }

    /// Counts a refusal that shows this condition of the database.
    pub fn refused(&self, condition: &'static str) {
        self.refusals.get_or_create(&Refused { condition }).inc();
    }

    /// Sets the state of the pool: its connections, the idle ones among them, the most that it may have, and how many
    /// callers wait for one.
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
