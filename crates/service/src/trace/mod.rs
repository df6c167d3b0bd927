//! One trace per order, from the request that places it to its last mail.
//!
//! An event carries the W3C trace context of the step that made it. Its handlers therefore continue the same trace:
//! after retries, as a replayed dead letter, in any process. Spans are named by OpenTelemetry's conventions for
//! messaging (docs/TRACES.md) and exported to `OTEL_EXPORTER_OTLP_ENDPOINT`. Without that setting nothing is recorded,
//! but the ids are still passed on, for the log.
//!
//! Nothing waits for the export: spans are put into a bounded queue, and a separate thread sends them. A slow or
//! unavailable collector costs spans, not orders.

mod attributes;
mod export;
mod span;

pub use self::{
    attributes::About,
    export::{Exporting, TraceError},
    span::{Kind, Span, is_sampled, trace_id},
};
