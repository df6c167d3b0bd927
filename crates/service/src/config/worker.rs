//! `WORKER_LISTEN`, `BATCH_SIZE`, `PREFETCH`, `RECONCILE_AFTER`

use std::time::Duration;

use super::{
    RetryDelays,
    setting::{self, Setting, Source},
};
use crate::listen::Listen;

pub(super) const WORKER_LISTEN: Setting = Setting {
    name: "WORKER_LISTEN",
    default: Some("127.0.0.1:8081"),
    secret: false,
    meaning: "where a worker answers /healthz, /readyz and /metrics; if unset and port 8081 is in use, a free port is chosen and logged",
};
pub(super) const BATCH_SIZE: Setting = Setting {
    name: "BATCH_SIZE",
    default: Some("256"),
    secret: false,
    meaning: "the most events that a worker records in one transaction, 1 to 1000; it never waits for more to arrive",
};
pub(super) const PREFETCH: Setting = Setting {
    name: "PREFETCH",
    default: Some("512"),
    secret: false,
    meaning: "the most messages of one queue that a worker has in hand, 1 to 10000",
};
pub(super) const RECONCILE_AFTER: Setting = Setting {
    name: "RECONCILE_AFTER",
    default: Some("5m"),
    secret: false,
    meaning: "how long an event may take to reach a subscription before it counts as missing and is republished, up to 1 day; a worker checks five times within this time, and at least once a minute",
};

/// Reads how long an event may take to arrive before it counts as missing.
///
/// At most a day, because a worker that starts searches no further back.
#[must_use]
pub fn reconcile_after(source: &Source) -> Option<Duration> {
    source.parse(&RECONCILE_AFTER, |text| {
        let after = setting::duration(text)?;
        let day = Duration::from_secs(24 * 60 * 60);
        if after <= day { Ok(after) } else { Err("expected a length of time such as 5m, up to 1 day".to_owned()) }
    })
}

/// The settings of a worker process.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where it answers health checks and shows its metrics.
    pub listen: Listen,
    /// The most events in one transaction.
    pub batch_size: usize,
    /// The most unacknowledged messages of one queue.
    pub prefetch: u16,
    /// The retry tiers; the broker must have the same ones.
    pub retry_delays: RetryDelays,
    /// How long an event may take to arrive before it counts as missing.
    pub reconcile_after: Duration,
}

impl WorkerConfig {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let listen = setting::listen(source, &WORKER_LISTEN);
        let batch_size = source.parse(&BATCH_SIZE, |text| setting::number(text, 1, 1_000));
        let prefetch = source.parse(&PREFETCH, |text| setting::number(text, 1, 10_000));
        let retry_delays = RetryDelays::read(source);
        let reconcile_after = reconcile_after(source);
        Some(Self {
            listen: listen?,
            batch_size: batch_size?,
            prefetch: prefetch?,
            retry_delays: retry_delays?,
            reconcile_after: reconcile_after?,
        })
    }
}
