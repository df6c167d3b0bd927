//! The database: the pool of connections to it, and its refusals.

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

/// The pool of database connections, and what the database could not do.
#[derive(Debug)]
pub struct DatabaseMetrics {
    connections: Family<State, Gauge>,
    waiting: Gauge,
    refusals: Family<Refused, Counter>,
}

impl DatabaseMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { connections: Family::default(), waiting: Gauge::default(), refusals: Family::default() };
        let help = "Connections to the database: in use, idle, and the most that there may be";
        registry.register("orderflow_database_connections", help, metrics.connections.clone());
        let help = "Who waits for a connection to the database";
        registry.register("orderflow_database_waiting", help, metrics.waiting.clone());
        let help = "Refusals by the database that concern it as a whole: read_only, full, unavailable";
        registry.register("orderflow_database_refusals", help, metrics.refusals.clone());
        // An alert compares with what was before: without a first value it would miss the first refusal.
        for condition in ["read_only", "full", "unavailable"] {
            drop(metrics.refusals.get_or_create(&Refused { condition }));
        }
        metrics
    }

    /// The database showed this condition.
    pub fn refused(&self, condition: &'static str) {
        self.refusals.get_or_create(&Refused { condition }).inc();
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
