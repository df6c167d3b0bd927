use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a condition may take before a test gives up: far longer than any takes on a busy two-core machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Polls `condition` until it holds.
///
/// # Panics
/// Panics if it does not hold within 150 s; the message contains `what` and the last error.
pub async fn until<E: std::fmt::Debug>(what: &str, condition: impl AsyncFnMut() -> Result<(), E>) {
    until_within(PATIENCE, what, condition).await;
}

/// Like [`until`], but with another time limit.
///
/// # Panics
/// Panics if the condition does not hold in time.
pub async fn until_within<E: std::fmt::Debug>(
    bound: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<(), E>,
) {
    let deadline = Instant::now() + bound;
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Err(last) = condition().await else { return };
        assert!(Instant::now() < deadline, "gave up waiting until {what}: {last:?}");
    }
}
