//! Metrics of calls to providers.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};

/// The outcome of a call to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The provider did what was requested, or refused it permanently.
    Answered,
    /// The provider reported a transient error.
    Transient,
    /// The provider did not answer, or only that it is unavailable.
    Unavailable,
}

impl Answer {
    /// The labels are those of earlier versions, which the dashboards and alerts of shops use.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Transient => "passing",
            Self::Unavailable => "away",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    provider: &'static str,
    outcome: &'static str,
}

/// Calls to providers.
#[derive(Debug)]
pub struct ProviderMetrics {
    available: Family<Provider, Gauge>,
    called: Histograms<Call>,
}

impl ProviderMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { available: Family::default(), called: Histograms::new_with_constructor(buckets::times) };
        let help =
            "1 while a provider is called, 0 while its breaker is open: it is unavailable, and its queues are paused";
        registry.register("orderflow_provider_available", help, metrics.available.clone());
        let help =
            "How long calls to a provider took, by outcome: answered, passing (a transient error), away (unavailable)";
        registry.register_with_unit("orderflow_provider_call", help, Unit::Seconds, metrics.called.clone());
        metrics
    }

    /// Sets whether a provider is available.
    pub fn available(&self, provider: &'static str, available: bool) {
        self.available.get_or_create(&Provider { provider }).set(available.into());
    }

    /// Records a finished call.
    pub fn called(&self, provider: &'static str, outcome: Answer, took: Duration) {
        self.called.get_or_create(&Call { provider, outcome: outcome.as_str() }).observe(took.as_secs_f64());
    }
}
