//! The histograms, and the bounds of their buckets: few, since each is a series for each set of labels.

use prometheus_client::metrics::{family::Family, histogram::Histogram};

/// A histogram for each set of labels.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// From a millisecond, which a step takes at best, to all the retries there are by default (some seven hours), in seconds.
const TIMES: [f64; 19] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 3_600.0,
    30_000.0,
];

/// Up to `BATCH_SIZE`'s greatest value.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_000.0];

/// For lengths of time, in seconds. 30 is a bound of its own, because an order should be settled in that time.
pub fn times() -> Histogram {
    Histogram::new(TIMES)
}

/// For how many there are in a batch.
pub fn sizes() -> Histogram {
    Histogram::new(SIZES)
}
