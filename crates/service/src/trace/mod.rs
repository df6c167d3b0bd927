//! One trace for each order, from the request that places it to its last mail.
//!
//! An event carries the W3C trace context of the step that made it, so whatever handles the event goes on with the same
//! trace: after retries, as a dead letter that is replayed, in any process. Steps are named by OpenTelemetry's conventions
//! for messaging (docs/TRACES.md). They go to `OTEL_EXPORTER_OTLP_ENDPOINT`; without it nothing is recorded, and the ids go
//! their way all the same, for the log.
//!
//! Nothing waits for this: spans are put into a bounded queue, from which a thread of its own sends them, and a collector
//! that is slow or away costs spans and not orders.

mod attributes;
mod export;
mod span;

pub use self::{
    attributes::About,
    export::{Exporting, TraceError},
    span::{Kind, Span, is_sampled, trace_id},
};
