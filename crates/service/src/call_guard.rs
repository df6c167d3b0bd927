//! Guards every call to a provider: a time-out, a limit on concurrent calls (bulkhead) and a circuit breaker.

use std::{
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::RngExt as _;
use tokio::{
    sync::{Semaphore, watch},
    time::{Duration, Instant},
};

use crate::{
    breaker::{Breaker, Change, Next, Ticket},
    config::GuardConfig,
    failure::Failure,
    metrics::{self, Answer},
    provider_error::ProviderError,
};

/// A provider and the guard that every call to it goes through:
/// `self.provider.guard.call(self.provider.charge(request))`. Cheap to clone.
pub struct Guarded<P: ?Sized> {
    /// The guard of its calls.
    pub guard: Arc<CallGuard>,
    provider: Arc<P>,
}

impl<P: ?Sized> Guarded<P> {
    /// Returns this provider behind this guard.
    #[must_use]
    pub fn by(guard: CallGuard, provider: Arc<P>) -> Self {
        Self { guard: Arc::new(guard), provider }
    }
}

impl<P: ?Sized> Clone for Guarded<P> {
    fn clone(&self) -> Self {
        Self { guard: Arc::clone(&self.guard), provider: Arc::clone(&self.provider) }
    }
}

impl<P: ?Sized> Deref for Guarded<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.provider
    }
}

/// The time-out, bulkhead and circuit breaker of one provider. A process has one guard per provider.
#[derive(Debug)]
pub struct CallGuard {
    name: &'static str,
    whom: &'static str,
    config: GuardConfig,
    permits: Semaphore,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is open. Sent with every change of state, so the value may be unchanged.
    away: watch::Sender<bool>,
}

impl CallGuard {
    /// Returns a guard with these bounds and a closed breaker. `name` identifies the provider in health checks and log
    /// fields; `whom` names it in sentences.
    #[must_use]
    pub fn new(name: &'static str, whom: &'static str, config: GuardConfig) -> Self {
        metrics::get().providers.available(name, true);
        let permits = Semaphore::new(config.concurrency);
        Self { name, whom, config, permits, breaker: Mutex::default(), away: watch::Sender::new(false) }
    }

    /// Returns the provider's name in health checks and logs, such as `payment`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the limit on concurrent calls.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.config.concurrency
    }

    /// Returns how long one call may take.
    #[must_use]
    pub fn time_out(&self) -> Duration {
        self.config.time_out
    }

    /// Returns whether the breaker is open or half-open.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        !self.breaker().is_closed()
    }

    /// Waits until [`CallGuard::is_unavailable`] is `wanted`. Returns immediately if it already is.
    pub async fn until_unavailable_is(&self, wanted: bool) {
        // The sender is in `self`, so the channel cannot close.
        drop(self.away.subscribe().wait_for(|away| *away == wanted).await);
    }

    /// Calls the provider, within the time-out. The time-out excludes the wait for a permit, which is bounded too:
    /// every call that holds one has a time-out. While the breaker is open, only the holder of a [`ProbePermit`] can
    /// call.
    ///
    /// # Errors
    /// Returns the call's errors, and [`Failure::ProviderUnavailable`] after the time-out. The effect may have happened
    /// even so: that is why calls need an idempotency key.
    pub async fn call<T>(&self, call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, Failure> {
        // The semaphore is never closed.
        let _place = self.permits.acquire().await;
        let Some(ticket) = self.breaker().enter() else {
            let why = format!("the {} is unavailable and was not called", self.whom);
            return Err(Failure::ProviderUnavailable { why, after: None });
        };
        let began = Instant::now();
        let outcome = match tokio::time::timeout(self.config.time_out, call).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let limit = self.config.time_out;
                Err(ProviderError::unavailable(format!("the {} did not answer within {limit:?}", self.whom)))
            }
        };
        metrics::get().providers.called(self.name, answer(&outcome), began.elapsed());
        match &outcome {
            Err(ProviderError::Unavailable { why, retry_after }) => self.report_unavailable(ticket, *retry_after, why),
            _ => self.tell_answered(ticket),
        }
        Ok(outcome?)
    }

    /// Waits until the provider may be called: not at all while the breaker is closed; else until this caller may
    /// probe, one caller at a time, or another caller's probe has closed the breaker.
    pub async fn probe_permit(self: &Arc<Self>) -> ProbePermit {
        let mut changes = self.away.subscribe();
        loop {
            let next = self.breaker().next(Instant::now());
            let not_before = match next {
                Next::All => return ProbePermit { guard: Arc::clone(self), ticket: None },
                Next::Yours(ticket) => return ProbePermit { guard: Arc::clone(self), ticket: Some(ticket) },
                Next::NotBefore { at, wait } => Some(at + wait.mul_f64(rand::rng().random_range(0.0..0.1))),
                // Bounded by the time-out of the probe that is in flight.
                Next::Taken => None,
            };
            let due = async {
                match not_before {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                // The sender is in `self`, so the channel cannot close.
                _ = changes.changed() => {}
            }
        }
    }

    fn report_unavailable(&self, ticket: Ticket, requested: Option<Duration>, why: &str) {
        let change = self.breaker().unavailable(ticket, Instant::now(), requested);
        match change {
            Some(Change::Opened) => {
                tracing::warn!(
                    provider = self.name,
                    reason = why,
                    "the {} is unavailable; its messages wait on the broker, and one at a time probes it",
                    self.whom
                );
            }
            Some(_) => tracing::debug!(provider = self.name, reason = why, "the {} is still unavailable", self.whom),
            None => return,
        }
        self.changed();
    }

    fn tell_answered(&self, ticket: Ticket) {
        let change = self.breaker().answered(ticket, Instant::now());
        if let Some(Change::Closed(away_for)) = change {
            let seconds = away_for.as_secs();
            tracing::info!(provider = self.name, seconds, "the {} is available again", self.whom);
            self.changed();
        }
    }

    fn give_up(&self, ticket: Ticket) {
        let had_it = self.breaker().give_up(ticket, Instant::now());
        if had_it {
            self.changed();
        }
    }

    fn changed(&self) {
        // Read under the channel's own lock, so that the later of two concurrent changes wins.
        self.away.send_modify(|away| {
            *away = self.is_unavailable();
            metrics::get().providers.available(self.name, !*away);
        });
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer<T>(outcome: &Result<T, ProviderError>) -> Answer {
    match outcome {
        Err(ProviderError::Unavailable { .. }) => Answer::Unavailable,
        Err(ProviderError::Transient { .. }) => Answer::Transient,
        _ => Answer::Answered,
    }
}

/// The permission to call a provider once while its breaker is half-open. If it is dropped without a call, the next
/// caller gets it.
#[derive(Debug)]
#[must_use]
pub struct ProbePermit {
    guard: Arc<CallGuard>,
    ticket: Option<Ticket>,
}

impl ProbePermit {
    /// Reports a failed probe, even if no call did. The next probe is due after a longer wait.
    pub fn failed(mut self, why: &str) {
        if let Some(ticket) = self.ticket.take() {
            self.guard.report_unavailable(ticket, None, why);
        }
    }
}

impl Drop for ProbePermit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.guard.give_up(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_OUT: Duration = Duration::from_secs(10);

    fn guard(concurrency: usize) -> Arc<CallGuard> {
        Arc::new(CallGuard::new("carrier", "carrier", GuardConfig { time_out: TIME_OUT, concurrency }))
    }

    async fn away(guard: &CallGuard) {
        let answer: Result<(), _> = guard.call(async { Err(ProviderError::unavailable("down")) }).await;
        assert_eq!(answer, Err(Failure::ProviderUnavailable { why: "down".to_owned(), after: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_times_out_counts_as_provider_unavailable() {
        let never = std::future::pending::<Result<(), ProviderError>>();
        let why = "the carrier did not answer within 10s".to_owned();
        assert_eq!(guard(1).call(never).await, Err(Failure::ProviderUnavailable { why, after: None }));
    }

    #[tokio::test]
    async fn requested_retry_delay_is_kept() {
        let after = Some(Duration::from_secs(7));
        let error = ProviderError::Transient { why: "busy".to_owned(), retry_after: after };
        let answer: Result<(), Failure> = guard(1).call(async { Err(error) }).await;
        assert_eq!(answer, Err(Failure::Retry { why: "busy".to_owned(), after }));
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_calls_are_limited_and_waiting_for_a_permit_does_not_time_out() {
        let (guard, start) = (guard(2), Instant::now());
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            Ok::<_, ProviderError>(start.elapsed().as_secs())
        };
        let ended = futures::future::try_join_all((0..6).map(|_| guard.call(slow()))).await;
        assert_eq!(ended, Ok(vec![8, 8, 16, 16, 24, 24]));
    }

    #[tokio::test(start_paused = true)]
    async fn five_unanswered_calls_stop_further_calls_until_a_probe_is_answered() {
        let guard = guard(8);
        for _ in 0..5 {
            assert!(!guard.is_unavailable());
            away(&guard).await;
        }
        guard.until_unavailable_is(true).await;
        let unasked: Result<(), _> = guard.call(async { panic!("the provider must not be called") }).await;
        assert!(matches!(unasked, Err(Failure::ProviderUnavailable { .. })), "{unasked:?}");
        let start = Instant::now();
        let permit = guard.probe_permit().await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_millis(1_200), "{waited:?}");
        let second = tokio::spawn({
            let guard = Arc::clone(&guard);
            async move { guard.probe_permit().await.ticket }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "one probe at a time");
        assert_eq!(guard.call(async { Ok(7) }).await, Ok(7));
        assert_eq!(second.await.expect("no panic"), None, "every caller may call");
        assert!(!guard.is_unavailable());
        drop(permit);
        assert!(!guard.is_unavailable(), "a permit that was used is not given up");
    }

    #[tokio::test(start_paused = true)]
    async fn unused_permit_is_passed_on_immediately_and_failed_probe_after_a_wait() {
        let guard = guard(8);
        for _ in 0..5 {
            away(&guard).await;
        }
        drop(guard.probe_permit().await);
        let start = Instant::now();
        guard.probe_permit().await.failed("no answer");
        assert!(start.elapsed() < Duration::from_millis(1), "{:?}", start.elapsed());
        drop(guard.probe_permit().await);
        assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
