//! Requests that were answered.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    registry::{Registry, Unit},
};

use super::{Histograms, buckets};

/// Named as OpenTelemetry's conventions for HTTP metrics have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// Requests that were answered.
#[derive(Debug)]
pub struct HttpMetrics {
    answered: Histograms<Request>,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let answered = Histograms::new_with_constructor(buckets::times);
        let help = "How long requests took to be answered";
        registry.register_with_unit("http_server_request_duration", help, Unit::Seconds, answered.clone());
        Self { answered }
    }

    /// A request was answered. `route` is a pattern of ours and not the path, and `method` one of few.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let request =
            Request { http_request_method: method, http_route: route.to_owned(), http_response_status_code: status };
        self.answered.get_or_create(&request).observe(took.as_secs_f64());
    }
}
