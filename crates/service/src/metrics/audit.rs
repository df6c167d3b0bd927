//! How the last audit ended.

use chrono::{DateTime, Utc};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// A family without labels, for what may not be known yet: it has no sample until it is.
type Unlabelled = [(&'static str, &'static str); 0];

/// How the last audit ended that was written down. Nothing where there was none: 0 would say that all is well.
#[derive(Debug)]
pub struct AuditMetrics {
    violations: Family<Unlabelled, Gauge>,
    finished: Family<Unlabelled, Gauge>,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { violations: Family::default(), finished: Family::default() };
        let help = "Violations that the last `orderflow audit --record` found; nothing before the first";
        registry.register("orderflow_audit_violations", help, metrics.violations.clone());
        let help = "When that audit ended, as a Unix time";
        registry.register_with_unit("orderflow_audit_end_time", help, Unit::Seconds, metrics.finished.clone());
        metrics
    }

    /// It ended then, with so many violations.
    pub fn ended(&self, at: DateTime<Utc>, violations: i64) {
        self.violations.get_or_create(&[]).set(violations);
        self.finished.get_or_create(&[]).set(at.timestamp());
    }
}
