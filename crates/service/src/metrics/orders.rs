//! Orders, as customers meet them.

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

/// Orders, as customers meet them.
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
        let help = "Requests that were answered with the order that their Idempotency-Key had made before";
        registry.register("orderflow_orders_repeated", help, metrics.repeated.clone());
        let help = "Orders that were not stored, by the problem that their client was told";
        registry.register("orderflow_orders_rejected", help, metrics.rejected.clone());
        let help = "From an order's acceptance until its customer sees that it is settled, by its status then";
        registry.register_with_unit("orderflow_order_settled", help, Unit::Seconds, metrics.settled.clone());
        let help =
            "1 while new orders are taken, 0 while they are refused because the database is away or too much waits";
        registry.register("orderflow_admission_open", help, metrics.admitting.clone());
        metrics
    }

    /// A request to place an order was answered with one: a new one, or that of an earlier request.
    pub fn accepted(&self, replayed: bool) {
        if replayed {
            self.repeated.inc()
        } else {
            self.accepted.inc()
        };
    }

    /// An order was not stored. `reason` is a problem's code.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&Rejection { reason }).inc();
    }

    /// Records that an order reached a settled status, by that status's name.
    pub fn settled(&self, status: &'static str, after: Duration) {
        self.settled.get_or_create(&Settlement { status }).observe(after.as_secs_f64());
    }

    /// Whether new orders are taken.
    pub fn admitting(&self, open: bool) {
        self.admitting.set(open.into());
    }
}
