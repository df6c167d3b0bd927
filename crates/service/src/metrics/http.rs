//! Metrics of HTTP requests and of connections that the server closed.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use super::buckets::{self, Histograms};

/// Labels named after OpenTelemetry's conventions for HTTP metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// Why the server closed a connection before its client had finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutOff {
    /// The client did not read its response in time.
    Unread,
    /// The client did not complete its request in time.
    Unfinished,
    /// All connections together held too much.
    Memory,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closing {
    reason: CutOff,
}

/// Answered requests, and connections that the server closed before their clients had finished.
#[derive(Debug)]
pub struct HttpMetrics {
    answered: Histograms<Request>,
    cut_off: Family<Closing, Counter>,
}

impl EncodeLabelValue for CutOff {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Unread => "unread",
            Self::Unfinished => "unfinished",
            Self::Memory => "memory",
        })
    }
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let answered = Histograms::new_with_constructor(buckets::times);
        let help = "How long requests took to answer";
        registry.register_with_unit("http_server_request_duration", help, Unit::Seconds, answered.clone());
        let cut_off = Family::default();
        let help = "Connections that the server closed on its client: unread (did not read its response in time), unfinished (did not complete its request in time), memory (all connections together held too much)";
        registry.register("orderflow_http_cut_off", help, cut_off.clone());
        Self { answered, cut_off }
    }

    /// Counts a connection that the server closed before its client had finished.
    pub fn cut_off(&self, why: CutOff) {
        self.cut_off.get_or_create(&Closing { reason: why }).inc();
    }

    /// Records an answered request. To keep the labels few, `route` must be a route's pattern, not the path, and
    /// `method` one of a fixed set.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let request =
            Request { http_request_method: method, http_route: route.to_owned(), http_response_status_code: status };
        self.answered.get_or_create(&request).observe(took.as_secs_f64());
    }
}
