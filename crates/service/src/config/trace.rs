//! `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER_ARG`

use url::Url;

use super::{
    address::{Address, Form, HTTP, Query},
    plaintext::PlaintextHosts,
    setting::{Setting, Source},
};

/// The name and the form are OpenTelemetry's: the base of the address, without `/v1/traces`.
pub(super) const OTEL_EXPORTER_OTLP_ENDPOINT: Setting = Setting {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    default: None,
    secret: false,
    meaning: "where traces are sent, by OTLP over HTTP, such as http://127.0.0.1:4318; http:// only for this machine and hosts in PLAINTEXT_HOSTS; unset: traces are not recorded",
};
/// The name is OpenTelemetry's, for the ratio of a sampler. Tracing a tenth of the orders costs no measurable
/// throughput; tracing all costs a tenth of it (docs/TRACES.md, "What it costs").
pub(super) const OTEL_TRACES_SAMPLER_ARG: Setting = Setting {
    name: "OTEL_TRACES_SAMPLER_ARG",
    default: Some("0.1"),
    secret: false,
    meaning: "the fraction of orders that is traced, from 0 to 1; the first request of an order decides for the whole order",
};

const COLLECTOR: Form =
    Form { schemes: HTTP, shown: "http://collector:4318", credentials: false, path: true, query: Query::Only(&[]) };

/// What is traced, and where traces are sent.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// The collector; `None` if nothing is recorded.
    pub endpoint: Option<Url>,
    /// The fraction of traces beginning here that is recorded, 0 to 1.
    pub ratio: f64,
}

impl TraceConfig {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let endpoint = match source.given(&OTEL_EXPORTER_OTLP_ENDPOINT) {
            None => Some(None),
            Some(_) => source.parse(&OTEL_EXPORTER_OTLP_ENDPOINT, |text| {
                let address = Address::parse(text, &COLLECTOR)?;
                PlaintextHosts::read(source).permit(source, &OTEL_EXPORTER_OTLP_ENDPOINT, &address, "https://")?;
                Ok(Some(address.url))
            }),
        };
        let ratio = source.parse(&OTEL_TRACES_SAMPLER_ARG, |text| match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err("expected a number from 0 to 1".to_owned()),
        });
        Some(Self { endpoint: endpoint?, ratio: ratio? })
    }
}
