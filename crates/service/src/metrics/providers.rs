//! Calls to the outside world.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};

/// What a call to a provider came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It did what it was asked for, or said why it never will.
    Answered,
    /// It said why not now.
    Passing,
    /// It did not answer, or only that it cannot.
    Away,
}

impl Answer {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Passing => "passing",
            Self::Away => "away",
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

/// Calls to the outside world.
#[derive(Debug)]
pub struct ProviderMetrics {
    available: Family<Provider, Gauge>,
    called: Histograms<Call>,
}

impl ProviderMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { available: Family::default(), called: Histograms::new_with_constructor(buckets::times) };
        let help = "1 while a provider is called, 0 while its breaker is open: it is away, and its queues are paused";
        registry.register("orderflow_provider_available", help, metrics.available.clone());
        let help = "How long calls to a provider took, by their outcome: answered, passing (not now), away";
        registry.register_with_unit("orderflow_provider_call", help, Unit::Seconds, metrics.called.clone());
        metrics
    }

    /// Whether a provider is called.
    pub fn available(&self, provider: &'static str, available: bool) {
        self.available.get_or_create(&Provider { provider }).set(available.into());
    }

    /// A call came to an end.
    pub fn called(&self, provider: &'static str, outcome: Answer, took: Duration) {
        self.called.get_or_create(&Call { provider, outcome: outcome.as_str() }).observe(took.as_secs_f64());
    }
}
