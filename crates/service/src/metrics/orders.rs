//! Metrics of accepted, refused and settled orders.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settlement {
    status: &'static str,
}

/// Accepted, refused and settled orders.
#[derive(Debug)]
pub struct OrderMetrics {
    accepted: Counter,
    repeated: Counter,
    rejected: Family<Rejection, Counter>,
    settled: Histograms<Settlement>,
    admitting: Gauge,
}

impl OrderMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            repeated: Counter::default(),
            rejected: Family::default(),
            settled: Histograms::new_with_constructor(buckets::times),
            admitting: Gauge::default(),
        };
        registry.register("orderflow_orders_accepted", "Orders that were stored", metrics.accepted.clone());
        let help = "Requests that were answered with an existing order, because their Idempotency-Key was used before";
        registry.register("orderflow_orders_repeated", help, metrics.repeated.clone());
        let help = "Orders that were not stored, by the problem that the client got";
        registry.register("orderflow_orders_rejected", help, metrics.rejected.clone());
        let help = "From an order's acceptance until its customer sees that it is settled, by its settled status";
        registry.register_with_unit("orderflow_order_settled", help, Unit::Seconds, metrics.settled.clone());
        let help = "1 while new orders are accepted, 0 while they are refused because the database is unavailable or the outbox is over its limits";
        registry.register("orderflow_admission_open", help, metrics.admitting.clone());
        metrics
    }

    /// Counts a request that was answered with an order: a new one, or that of an earlier request if `replayed`.
    pub fn accepted(&self, replayed: bool) {
        if replayed {
            self.repeated.inc()
        } else {
            self.accepted.inc()
        };
    }

    /// Counts an order that was not stored. `reason` is a problem's code.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&Rejection { reason }).inc();
    }

    /// Records that an order settled with this status, and how long after its acceptance.
    pub fn settled(&self, status: &'static str, after: Duration) {
        self.settled.get_or_create(&Settlement { status }).observe(after.as_secs_f64());
    }

    /// Sets whether new orders are accepted.
    pub fn admitting(&self, open: bool) {
        self.admitting.set(open.into());
    }
}
