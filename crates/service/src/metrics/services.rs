//! Metrics of registered services: those outside these programs.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    service: &'static str,
}

/// The registered services.
#[derive(Debug)]
pub struct ServiceMetrics {
    registered: Family<Named, Gauge>,
}

impl ServiceMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registered = Family::default();
        let help =
            "1 for each service that `orderflow service register` has registered; alerts about its queues do not page";
        registry.register("orderflow_service_registered", help, registered.clone());
        Self { registered }
    }

    /// Sets which services are registered.
    pub fn registered(&self, services: impl Iterator<Item = &'static str>) {
        self.registered.clear();
        for service in services {
            self.registered.get_or_create(&Named { service }).set(1);
        }
    }
}
