//! Metrics of publishing from the outbox to the broker.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use orderflow_events::EventKind;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};
use crate::store::outbox::Depths;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    event: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Publishing {
    outcome: &'static str,
}

/// Publishing from the outbox to the broker.
#[derive(Debug)]
pub struct OutboxMetrics {
    rows: Family<OfKind, Gauge>,
    oldest: Family<OfKind, Gauge<f64, AtomicU64>>,
    /// Event types that have a sample. Once no event of a type waits, its sample must return to 0.
    kinds: Mutex<BTreeSet<String>>,
    relayed: Counter,
    published: Histograms<Publishing>,
}

impl OutboxMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rows: Family::default(),
            oldest: Family::default(),
            kinds: Mutex::new(EventKind::ALL.iter().map(|kind| kind.routing_key().to_owned()).collect()),
            relayed: Counter::default(),
            published: Histograms::new_with_constructor(buckets::times),
        };
        let help = "Committed events that the broker has not confirmed yet, by event type, each counted up to ADMISSION_MAX_OUTBOX_ROWS; measured by front ends";
        registry.register("orderflow_outbox_rows", help, metrics.rows.clone());
        let help = "How long the oldest unconfirmed event has waited; 0 when nothing waits";
        registry.register_with_unit("orderflow_outbox_oldest", help, Unit::Seconds, metrics.oldest.clone());
        let help = "Events that the relay took from the outbox because the process that wrote them could not publish them immediately";
        registry.register("orderflow_outbox_relayed", help, metrics.relayed.clone());
        let help = "From handing a message to the publisher until its outcome; only `confirmed` is success";
        registry.register_with_unit("orderflow_publish", help, Unit::Seconds, metrics.published.clone());
        metrics
    }

    /// Sets how many events wait in the outbox, and for how long.
    pub fn depths(&self, depths: &Depths) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.extend(depths.0.keys().cloned());
        for event in kinds.iter() {
            let depth = depths.of(|one| one == event);
            let kind = OfKind { event: event.clone() };
            self.rows.get_or_create(&kind).set(depth.rows);
            self.oldest.get_or_create(&kind).set(depth.oldest_seconds);
        }
    }

    /// Counts rows that the relay took.
    pub fn relayed(&self, rows: usize) {
        self.relayed.inc_by(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    /// Records the end of an attempt to publish. `outcome` is `confirmed` or an error's name.
    pub fn published(&self, outcome: &'static str, took: Duration) {
        self.published.get_or_create(&Publishing { outcome }).observe(took.as_secs_f64());
    }
}
