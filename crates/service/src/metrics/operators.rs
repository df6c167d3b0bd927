//! Metrics of refused operator tokens.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusing {
    reason: &'static str,
}

/// Refused operator tokens.
#[derive(Debug)]
pub struct OperatorMetrics {
    refused: Family<Refusing, Counter>,
}

impl OperatorMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let refused = Family::default();
        let help = "Operator tokens that /admin or the console refused: wrong, or throttled (not compared, after too many wrong ones)";
        registry.register("orderflow_operator_tokens_refused", help, refused.clone());
        Self { refused }
    }

    /// Counts a refused token: wrong if it was compared, else throttled.
    pub fn refused(&self, was_compared: bool) {
        let reason = if was_compared { "wrong" } else { "throttled" };
        self.refused.get_or_create(&Refusing { reason }).inc();
    }
}
