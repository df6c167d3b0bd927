//! Requests that were answered.

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

/// Named as OpenTelemetry's conventions for HTTP metrics have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// Why a connection was closed on a client that had not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutOff {
    /// It did not read its answer in time.
    Unread,
    /// Its request did not get complete in time.
    Unfinished,
    /// All connections together held too much.
    Memory,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closing {
    reason: CutOff,
}

/// Requests that were answered, and clients that were not.
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
        let help = "How long requests took to be answered";
        registry.register_with_unit("http_server_request_duration", help, Unit::Seconds, answered.clone());
        let cut_off = Family::default();
        let help = "Connections that were closed on their client: unread (it did not take its answer in time), unfinished (its request did not get complete in time), memory (all clients together held too much)";
        registry.register("orderflow_http_cut_off", help, cut_off.clone());
        Self { answered, cut_off }
    }

    /// A connection was closed on its client.
    pub fn cut_off(&self, why: CutOff) {
        self.cut_off.get_or_create(&Closing { reason: why }).inc();
    }

    /// A request was answered. `route` is a pattern of ours and not the path, and `method` one of few.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let request =
            Request { http_request_method: method, http_route: route.to_owned(), http_response_status_code: status };
        self.answered.get_or_create(&request).observe(took.as_secs_f64());
    }
}
