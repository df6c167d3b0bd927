//! Who tries to be an operator.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusing {
    reason: &'static str,
}

/// Who tries to be an operator.
#[derive(Debug)]
pub struct OperatorMetrics {
    refused: Family<Refusing, Counter>,
}

impl OperatorMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let refused = Family::default();
        let help = "Tokens that opened neither /admin nor the console: wrong, or throttled (not even compared, since too many wrong ones came before)";
        registry.register("orderflow_operator_tokens_refused", help, refused.clone());
        Self { refused }
    }

    /// A token was wrong, or not compared.
    pub fn refused(&self, was_compared: bool) {
        let reason = if was_compared { "wrong" } else { "throttled" };
        self.refused.get_or_create(&Refusing { reason }).inc();
    }
}
