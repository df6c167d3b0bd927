//! A test's own collector, which receives traces by OTLP over HTTP.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    web::{self, Bytes, Data, PayloadConfig},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use url::Url;

/// The maximum size of a request, in bytes; larger than any batch of spans.
const LARGEST: usize = 64 * 1024 * 1024;

/// A collector and the spans it received. It ends when this is dropped.
#[derive(Debug)]
pub struct Collector {
    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Url,
    seen: Seen,
    server: ServerHandle,
}

type Seen = Arc<Mutex<Vec<Traced>>>;

/// A received span. Ids are in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The service name: the program.
    pub service: String,
    /// The trace id.
    pub trace: String,
    /// The span id.
    pub id: String,
    /// The parent span's id; empty for a root span.
    pub parent: String,
    /// The span's name.
    pub name: String,
    /// The span's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The ids of linked spans.
    pub links: BTreeSet<String>,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took, in nanoseconds.
    pub took: u64,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Panics
    /// Panics if no port is free.
    #[must_use]
    pub fn start() -> Self {
        let seen = Seen::default();
        let data = Data::new(Arc::clone(&seen));
        let app = move || {
            App::new()
                .app_data(data.clone())
                .app_data(PayloadConfig::new(LARGEST))
                .route("/v1/traces", web::post().to(take))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").expect("a free port");
        let address = *server.addrs().first().expect("it is bound");
        let running = server.run();
        let handle = running.handle();
        tokio::spawn(running);
        let endpoint = format!("http://{address}").parse().expect("a URL");
        Self { endpoint, seen, server: handle }
    }

    /// Returns the spans received so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Traced> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(seen: Data<Seen>, body: Bytes) -> HttpResponse {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return HttpResponse::BadRequest().finish() };
    let mut all = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for of_process in request.resource_spans {
        let resource = of_process.resource.map(|resource| named(&resource.attributes)).unwrap_or_default();
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| traced(&service, span)));
    }
    HttpResponse::Ok()
        .content_type("application/x-protobuf")
        .body(ExportTraceServiceResponse::default().encode_to_vec())
}

fn traced(service: &str, span: Span) -> Traced {
    Traced {
        service: service.to_owned(),
        trace: hex::encode(&span.trace_id),
        id: hex::encode(&span.span_id),
        parent: hex::encode(&span.parent_span_id),
        attributes: named(&span.attributes),
        links: span.links.iter().map(|link| hex::encode(&link.span_id)).collect(),
        failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        took: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        name: span.name,
    }
}

fn named(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|one| (one.key.clone(), text(&one.value))).collect()
}
