use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take before a test gives up: far longer than any takes on a busy two-core machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// The shortest time between two polls.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest time between two polls. Many polls are queries or processes, and four tests share two cores: a wait of
/// half a minute need not poll six hundred times.
const LONGEST: Duration = Duration::from_millis(250);

/// The time between two polls is this part of the time waited so far, within the two bounds above.
const PART: u32 = 20;

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
    condition: impl AsyncFnMut() -> Result<(), E>,
) {
    poll(bound, LONGEST, what, condition).await;
}

/// Like [`until`], but polls every 50 ms however long it takes: for waits whose length is measured.
///
/// # Panics
/// Panics if the condition does not hold within 150 s.
pub async fn until_measured<E: std::fmt::Debug>(what: &str, condition: impl AsyncFnMut() -> Result<(), E>) {
    poll(PATIENCE, SHORTEST, what, condition).await;
}

async fn poll<E: std::fmt::Debug>(
    bound: Duration,
    longest: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<(), E>,
) {
    let began = Instant::now();
    loop {
        let Err(last) = condition().await else { return };
        let waited = began.elapsed();
        assert!(waited < bound, "gave up waiting until {what}: {last:?}");
        sleep((waited / PART).clamp(SHORTEST, longest)).await;
    }
}
