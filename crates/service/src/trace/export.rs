//! Exports recorded spans to a collector, by OTLP over HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter},
};

use super::span::TRACER;
use crate::{config::TraceConfig, process_identity, telemetry, tls, version};

/// The most spans that wait to be sent; further ones are dropped. Enough for a few seconds of a process at full load,
/// in a few MiB.
const WAITING: usize = 16_384;

/// Spans in one request.
const BATCH: usize = 2_048;

/// The most links of a span: as many as the largest `BATCH_SIZE` has events.
const LINKS: u32 = 1_000;

/// How long spans wait for more before they are sent.
const EVERY: Duration = Duration::from_secs(1);

/// How long the collector may take to answer.
const TIME_OUT: Duration = Duration::from_secs(5);

/// How long sending the last spans may take at shutdown.
const DRAIN: Duration = Duration::from_secs(1);

/// Why the exporter cannot start.
#[derive(Debug, thiserror::Error)]
#[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")]
pub struct TraceError(#[from] ExporterBuildError);

/// Exports spans until it is finished, and then the rest.
#[derive(Debug)]
pub struct Exporting(Option<SdkTracerProvider>);

impl Exporting {
    /// Starts a thread that exports this process's spans under the name `service`. Does nothing if no collector is
    /// configured.
    ///
    /// # Errors
    /// Fails if the HTTP client cannot be created. An unavailable collector is not an error: the export is tried for
    /// ever.
    pub fn start(config: &TraceConfig, service: &str) -> Result<Self, TraceError> {
        let Some(endpoint) = &config.endpoint else { return Ok(Self(None)) };
        tls::install();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
            .with_timeout(TIME_OUT)
            .build()?;
        let exporter = Watched { exporter, is_away: Arc::default() };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.ratio))))
            .with_resource(resource(service))
            // The default of 128 would drop most links of a full batch.
            .with_max_links_per_span(LINKS)
            .build();
        // A second start, in a test, keeps the first tracer.
        drop(TRACER.set(provider.tracer("orderflow")));
        Ok(Self(Some(provider)))
    }

    /// Sends the remaining spans, for at most a second. Blocks.
    pub fn finish(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(DRAIN)
        {
            tracing::info!(error = telemetry::chain(&error), "cannot send the last spans");
        }
    }
}

fn resource(service: &str) -> Resource {
    Resource::builder_empty()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "orderflow"),
            KeyValue::new("service.version", version::VERSION),
            KeyValue::new("service.instance.id", process_identity::place().trim_start_matches('@').replace(' ', ":")),
        ])
        .build()
}

/// Logs once when the collector becomes unavailable, and once when it recovers.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    is_away: Arc<AtomicBool>,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        let was_away = self.is_away.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(error) if !was_away => {
                tracing::warn!(error = telemetry::chain(error), "spans cannot be sent; orders continue without traces");
            }
            Ok(()) if was_away => tracing::info!("spans are exported again"),
            _ => {}
        }
        outcome
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
