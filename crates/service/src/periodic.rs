//! The pause between runs of a periodic task.

use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// Waits for `interval`, plus or minus a tenth, so that many processes do not act in step. Returns `false` if the
/// process is stopping.
pub async fn pause(interval: Duration, stop: &CancellationToken) -> bool {
    let interval = interval.mul_f64(rand::rng().random_range(0.9..1.1));
    tokio::select! {
        () = tokio::time::sleep(interval) => true,
        () = stop.cancelled() => false,
    }
}
