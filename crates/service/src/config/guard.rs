//! The limits on calls to a provider. Each service that calls one has two settings for them.

use std::time::Duration;

use super::setting::{self, Setting, Source};

/// The limits on calls to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// How long one call may take.
    pub time_out: Duration,
    /// How many concurrent calls one process may make; not zero.
    pub concurrency: usize,
}

impl GuardConfig {
    /// Reads its two variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source, time_out: &Setting, concurrency: &Setting) -> Option<Self> {
        let time_out = source.parse(time_out, |text| match setting::duration(text) {
            // Less is probably a typing error; more would hold messages for longer than the broker permits.
            Ok(length) if (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&length) => Ok(length),
            _ => Err("expected a length of time from 100ms to 5m".to_owned()),
        });
        let concurrency = source.parse(concurrency, |text| setting::number(text, 1, 1_000));
        Some(Self { time_out: time_out?, concurrency: concurrency? })
    }
}
