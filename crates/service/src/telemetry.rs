//! Logging.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// The prefix of our own crates' names. Only they may log below `info`, since they log no personal data. Other
/// libraries log the data that they handle: tokio-postgres the parameters of statements, lapin whole frames, lettre the
/// dialogue with a mail server, hyper headers.
const OWN: &str = "orderflow";

/// Returns whether a line may be written, whatever `RUST_LOG` requests.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OWN)
}

/// Starts logging to standard error, once per process. Later calls have no effect.
pub fn init(config: &LogConfig) {
    // The filter was checked when the settings were read.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged));
    // Colours only on a terminal, unless NO_COLOR declines them (https://no-color.org).
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let started = match config.format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry.with(json()).try_init(),
    };
    drop(started);
}

/// Returns the layer that writes one JSON object per line. Fields of the line and of the spans around it are on the
/// same level, so that `order.id` has one name wherever a line comes from.
fn json<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    json_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .flatten_span_list_on_top_level(true)
}

/// Returns an error with its whole chain of causes, on one line, for the log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors include the text of their cause.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
