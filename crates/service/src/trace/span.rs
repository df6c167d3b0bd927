//! The spans of a trace.

use std::{borrow::Cow, fmt, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use rand::RngExt as _;

/// The tracer that records spans; not set if tracing is off.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The kind of a span, as OpenTelemetry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Calls another system and waits for the answer.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Producer => Self::Producer,
            Kind::Consumer => Self::Consumer,
        }
    }
}

/// A span: one step of a trace. It ends when it is dropped.
pub struct Span {
    context: SpanContext,
    /// `None` if the span is not recorded.
    span: Option<SdkSpan>,
}

impl Span {
    /// Returns the first span of a new trace. The client's trace context becomes a link only: anybody can send one, so
    /// it must decide neither an order's trace nor whether it is recorded.
    #[must_use]
    pub fn first(kind: Kind, name: impl Into<Cow<'static, str>>, client: Option<&str>) -> Self {
        let links = client.and_then(parse).map(Link::with_context).into_iter().collect();
        Self::start(kind, name, &Context::new(), links).unwrap_or_else(|| Self { context: random(), span: None })
    }

    /// Returns a span that follows from the one with this trace context, or the first span of a new trace if there is
    /// none.
    #[must_use]
    pub fn after(kind: Kind, name: impl Into<Cow<'static, str>>, cause: Option<&str>) -> Self {
        Self::linked(kind, name, cause, &[])
    }

    /// Returns a span as [`Span::after`] does, linked to spans of other traces: one transaction for many messages.
    #[must_use]
    pub fn linked(kind: Kind, name: impl Into<Cow<'static, str>>, cause: Option<&str>, others: &[&str]) -> Self {
        let Some(context) = cause.and_then(parse) else { return Self::first(kind, name, None) };
        let parent = Context::new().with_remote_span_context(context.clone());
        let links = others.iter().copied().filter_map(parse).map(Link::with_context).collect();
        Self::start(kind, name, &parent, links).unwrap_or(Self { context, span: None })
    }

    /// Returns `None` if tracing is off.
    fn start(kind: Kind, name: impl Into<Cow<'static, str>>, parent: &Context, links: Vec<Link>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let builder = tracer.span_builder(name).with_kind(kind.into()).with_links(links);
        let span = tracer.build_with_context(builder, parent);
        let context = span.span_context().clone();
        Some(Self { context, span: span.is_recording().then_some(span) })
    }

    /// Returns whether the span is recorded. If not, setting attributes has no effect.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.span.is_some()
    }

    /// Returns the W3C trace context, for the steps that follow.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let context = &self.context;
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }

    /// Sets an attribute. See `attributes.rs` for the names.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Marks the span as failed. `why` must not contain personal data.
    pub fn failed(&mut self, why: &str) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(why.to_owned()));
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// Returns random ids for a trace that this process does not record. They are flagged as sampled, since the next
/// process may record the trace.
fn random() -> SpanContext {
    let mut rng = rand::rng();
    // The standard forbids ids of zero.
    let (trace, span) = (rng.random_range(1..=u128::MAX), rng.random_range(1..=u64::MAX));
    let (trace, span) = (TraceId::from(trace), SpanId::from(span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
}

/// Returns the trace id of a W3C trace context, for the log, or `None` if the context is invalid.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    parse(traceparent).and_then(|_| traceparent.split('-').nth(1))
}

/// Returns whether the trace context has the sampled flag.
#[must_use]
pub fn is_sampled(traceparent: &str) -> bool {
    parse(traceparent).is_some_and(|context| context.is_sampled())
}

/// Parses a W3C Trace Context, level 1: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`. Later versions may append
/// fields.
fn parse(text: &str) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &str, length| {
        field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let lengths = [(version, 2), (trace, 32), (span, 16), (flags, 2)];
    let whole = lengths.iter().all(|(field, length)| is_hex(field, *length));
    if !whole || version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn trace_context_is_parsed_as_the_standard_requires() {
        let context = parse(EXAMPLE).expect("the standard's own example");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(Span { context, span: None }.traceparent(), EXAMPLE);
        assert_eq!(trace_id(EXAMPLE), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace_id("nonsense-4bf92f3577b34da6a3ce929d0e0e4736"), None);
        let later = EXAMPLE.replacen("00", "cc", 1) + "-what-comes-later";
        assert!(parse(&later).is_some());
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_passed_on_without_a_collector_and_each_trace_has_its_own() {
        let first = Span::first(Kind::Server, "POST /orders", Some(EXAMPLE));
        assert!(!first.is_recorded());
        let text = first.traceparent();
        assert!(parse(&text).is_some(), "{text}");
        assert_ne!(text, EXAMPLE, "a client's trace is not continued");
        assert_ne!(text, Span::first(Kind::Server, "POST /orders", None).traceparent());
        assert_eq!(Span::after(Kind::Consumer, "process", Some(&text)).traceparent(), text);
        assert!(parse(&Span::after(Kind::Consumer, "process", Some("nonsense")).traceparent()).is_some());
    }
}
