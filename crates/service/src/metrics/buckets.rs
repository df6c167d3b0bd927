//! The histograms and their buckets: few buckets, since each is a time series per set of labels.

use prometheus_client::metrics::{family::Family, histogram::Histogram};

/// One histogram per set of labels.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Bounds in seconds: from a millisecond, the fastest step, to all default retries (about seven hours).
const TIMES: [f64; 19] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 3_600.0,
    30_000.0,
];

/// Bounds up to the largest `BATCH_SIZE`.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_000.0];

/// Returns a histogram for durations in seconds. 30 is among the bounds because an order should be settled in that
/// time.
pub fn times() -> Histogram {
    Histogram::new(TIMES)
}

/// Returns a histogram for batch sizes.
pub fn sizes() -> Histogram {
    Histogram::new(SIZES)
}
