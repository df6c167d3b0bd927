//! The way of events from the outbox to the broker.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Publishing {
    outcome: &'static str,
}

/// The way of events from the outbox to the broker.
#[derive(Debug)]
pub struct OutboxMetrics {
    rows: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    relayed: Counter,
    published: Histograms<Publishing>,
}

impl OutboxMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rows: Gauge::default(),
            oldest: Gauge::default(),
            relayed: Counter::default(),
            published: Histograms::new_with_constructor(buckets::times),
        };
        let help = "Events that are committed and that the broker has not confirmed yet, counted up to ADMISSION_MAX_OUTBOX_ROWS; measured by front ends";
        registry.register("orderflow_outbox_rows", help, metrics.rows.clone());
        let help = "How long the oldest of them has waited, 0 where there is none";
        registry.register_with_unit("orderflow_outbox_oldest", help, Unit::Seconds, metrics.oldest.clone());
        let help = "Events that were taken from the outbox because whoever wrote them could not publish them at once";
        registry.register("orderflow_outbox_relayed", help, metrics.relayed.clone());
        let help =
            "From handing a message to the publisher until its outcome, which `confirmed` alone makes a good one";
        registry.register_with_unit("orderflow_publish", help, Unit::Seconds, metrics.published.clone());
        metrics
    }

    /// How much waits.
    pub fn depth(&self, rows: i64, oldest_seconds: f64) {
        self.rows.set(rows);
        self.oldest.set(oldest_seconds);
    }

    /// The relay took so many rows.
    pub fn relayed(&self, rows: usize) {
        self.relayed.inc_by(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    /// A message's publishing came to an end. `outcome` is `confirmed` or an error's name.
    pub fn published(&self, outcome: &'static str, took: Duration) {
        self.published.get_or_create(&Publishing { outcome }).observe(took.as_secs_f64());
    }
}
