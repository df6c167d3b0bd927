//! Metrics of the last recorded audit.

use chrono::{DateTime, Utc};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// The labels of a family without labels. Unlike a plain gauge, it has no sample until a value is set.
type Unlabelled = [(&'static str, &'static str); 0];

/// The result of the last recorded audit. There is no sample before the first one: 0 would mean that all is well.
#[derive(Debug)]
pub struct AuditMetrics {
    violations: Family<Unlabelled, Gauge>,
    finished: Family<Unlabelled, Gauge>,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { violations: Family::default(), finished: Family::default() };
        let help = "Violations that the last `orderflow audit --record` found; absent before the first run";
        registry.register("orderflow_audit_violations", help, metrics.violations.clone());
        let help = "When the last recorded audit ended, as a Unix time";
        registry.register_with_unit("orderflow_audit_end_time", help, Unit::Seconds, metrics.finished.clone());
        metrics
    }

    /// Sets when the last recorded audit ended, and how many violations it found.
    pub fn ended(&self, at: DateTime<Utc>, violations: i64) {
        self.violations.get_or_create(&[]).set(violations);
        self.finished.get_or_create(&[]).set(at.timestamp());
    }
}
