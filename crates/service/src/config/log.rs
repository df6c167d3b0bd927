//! `RUST_LOG`, `LOG_FORMAT`

use super::setting::{Setting, Source};

/// lapin logs every broken connection several times as an error; our own line reports it once, with its cause.
pub(super) const RUST_LOG: Setting = Setting {
    name: "RUST_LOG",
    default: Some("info,lapin=off,actix_server=warn"),
    secret: false,
    meaning: "what is logged, as a tracing filter such as info or orderflow=debug,warn; libraries log at info at most",
};
pub(super) const LOG_FORMAT: Setting =
    Setting { name: "LOG_FORMAT", default: Some("text"), secret: false, meaning: "text for people, json for machines" };

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A tracing filter.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl LogConfig {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let filter = source.parse(&RUST_LOG, |text| {
            tracing_subscriber::EnvFilter::try_new(text)
                .map(|_| text.to_owned())
                .map_err(|_| "expected a filter such as info or orderflow=debug,warn".to_owned())
        });
        let format = source.parse(&LOG_FORMAT, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected text or json".to_owned()),
        });
        Some(Self { filter: filter?, format: format? })
    }
}
