//! The line to a provider: the bounds on every call to it, and the breaker that leaves it alone while it is away.

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
    config::LineConfig,
    failure::Failure,
    metrics::{self, Answer},
    provider_error::ProviderError,
};

/// A provider with the line to it, on which every call to it that can fail is made:
/// `self.provider.line.call(self.provider.charge(request))`. Cheap to clone.
pub struct Reached<P: ?Sized> {
    /// The line.
    pub line: Arc<Line>,
    provider: Arc<P>,
}

impl<P: ?Sized> Reached<P> {
    /// This provider, by this line.
    #[must_use]
    pub fn by(line: Line, provider: Arc<P>) -> Self {
        Self { line: Arc::new(line), provider }
    }
}

impl<P: ?Sized> Clone for Reached<P> {
    fn clone(&self) -> Self {
        Self { line: Arc::clone(&self.line), provider: Arc::clone(&self.provider) }
    }
}

impl<P: ?Sized> Deref for Reached<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.provider
    }
}

/// The line to one provider; a process has one for each.
#[derive(Debug)]
pub struct Line {
    name: &'static str,
    whom: &'static str,
    config: LineConfig,
    permits: Semaphore,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is open; sent with every change of its state, and so also without a change of this.
    away: watch::Sender<bool>,
}

impl Line {
    /// A line with these bounds, closed. `name` is the provider's in health checks and logs, `whom` its in sentences.
    #[must_use]
    pub fn new(name: &'static str, whom: &'static str, config: LineConfig) -> Self {
        metrics::get().providers.available(name, true);
        let permits = Semaphore::new(config.concurrency);
        Self { name, whom, config, permits, breaker: Mutex::default(), away: watch::Sender::new(false) }
    }

    /// The provider's name in health checks and logs: `payment`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many calls may be under way at once.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.config.concurrency
    }

    /// How long one call may take.
    #[must_use]
    pub fn time_out(&self) -> Duration {
        self.config.time_out
    }

    /// Whether the provider is being left alone.
    #[must_use]
    pub fn is_away(&self) -> bool {
        !self.breaker().is_closed()
    }

    /// Waits until [`Line::is_away`] is `wanted`; returns at once where it is.
    pub async fn until_away_is(&self, wanted: bool) {
        // The sender is in `self`, so the channel cannot close.
        drop(self.away.subscribe().wait_for(|away| *away == wanted).await);
    }

    /// What a call to the provider comes to: nobody waits for an answer that never comes. Waiting for one of the line's
    /// places does not count; it is bounded, since everybody who has one has a time-out. While the provider is being
    /// left alone nothing is called, unless it is somebody's [`Turn`].
    ///
    /// # Errors
    /// Those of the call, and [`Failure::Away`] when the time is over: the effect may have happened all the same, which
    /// is what the idempotency key is for.
    pub async fn call<T>(&self, call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, Failure> {
        // The semaphore is never closed.
        let _place = self.permits.acquire().await;
        let Some(ticket) = self.breaker().enter() else {
            let why = format!("the {} is away and was not asked", self.whom);
            return Err(Failure::Away { why, after: None });
        };
        let began = Instant::now();
        let outcome = match tokio::time::timeout(self.config.time_out, call).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let limit = self.config.time_out;
                Err(ProviderError::away(format!("the {} did not answer within {limit:?}", self.whom)))
            }
        };
        metrics::get().providers.called(self.name, answer(&outcome), began.elapsed());
        match &outcome {
            Err(ProviderError::Away { why, retry_after }) => self.tell_away(ticket, *retry_after, why),
            _ => self.tell_answered(ticket),
        }
        Ok(outcome?)
    }

    /// Waits until the provider may be asked: at once while it is there, else until it is the caller's turn to try,
    /// one caller at a time, or until another's try has shown that it is back.
    pub async fn turn(self: &Arc<Self>) -> Turn {
        let mut changes = self.away.subscribe();
        loop {
            let next = self.breaker().next(Instant::now());
            let not_before = match next {
                Next::All => return Turn { line: Arc::clone(self), ticket: None },
                Next::Yours(ticket) => return Turn { line: Arc::clone(self), ticket: Some(ticket) },
                Next::NotBefore { at, wait } => Some(at + wait.mul_f64(rand::rng().random_range(0.0..0.1))),
                // Bounded by the time-out of the call that is being made.
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

    fn tell_away(&self, ticket: Ticket, wish: Option<Duration>, why: &str) {
        let change = self.breaker().away(ticket, Instant::now(), wish);
        match change {
            Some(Change::Opened) => {
                tracing::warn!(
                    provider = self.name,
                    reason = why,
                    "the {} is away; its messages wait on the broker, and it is tried again with one of them",
                    self.whom
                );
            }
            Some(_) => tracing::debug!(provider = self.name, reason = why, "the {} is still away", self.whom),
            None => return,
        }
        self.changed();
    }

    fn tell_answered(&self, ticket: Ticket) {
        let change = self.breaker().answered(ticket, Instant::now());
        if let Some(Change::Closed(away_for)) = change {
            let seconds = away_for.as_secs();
            tracing::info!(provider = self.name, seconds, "the {} is back", self.whom);
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
        // Looked at under the channel's own lock, so that of two changes at once the later is what stays.
        self.away.send_modify(|away| {
            *away = self.is_away();
            metrics::get().providers.available(self.name, !*away);
        });
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer<T>(outcome: &Result<T, ProviderError>) -> Answer {
    match outcome {
        Err(ProviderError::Away { .. }) => Answer::Away,
        Err(ProviderError::Passing { .. }) => Answer::Passing,
        _ => Answer::Answered,
    }
}

/// The permission to ask a provider once. Dropped, it is the next caller's turn, unless the call has shown how it is.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    line: Arc<Line>,
    ticket: Option<Ticket>,
}

impl Turn {
    /// The try came to nothing, even where no call has said so: the next one is due after a longer wait.
    pub fn failed(mut self, why: &str) {
        if let Some(ticket) = self.ticket.take() {
            self.line.tell_away(ticket, None, why);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.line.give_up(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_OUT: Duration = Duration::from_secs(10);

    fn line(concurrency: usize) -> Arc<Line> {
        Arc::new(Line::new("carrier", "carrier", LineConfig { time_out: TIME_OUT, concurrency }))
    }

    async fn away(line: &Line) {
        let answer: Result<(), _> = line.call(async { Err(ProviderError::away("down")) }).await;
        assert_eq!(answer, Err(Failure::Away { why: "down".to_owned(), after: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_a_provider_that_is_away() {
        let never = std::future::pending::<Result<(), ProviderError>>();
        let why = "the carrier did not answer within 10s".to_owned();
        assert_eq!(line(1).call(never).await, Err(Failure::Away { why, after: None }));
    }

    #[tokio::test]
    async fn what_the_provider_says_about_waiting_is_kept() {
        let after = Some(Duration::from_secs(7));
        let error = ProviderError::Passing { why: "busy".to_owned(), retry_after: after };
        let answer: Result<(), Failure> = line(1).call(async { Err(error) }).await;
        assert_eq!(answer, Err(Failure::Retry { why: "busy".to_owned(), after }));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_at_once_than_it_takes_and_waiting_for_a_place_is_not_the_providers_fault() {
        let (line, start) = (line(2), Instant::now());
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            Ok::<_, ProviderError>(start.elapsed().as_secs())
        };
        let ended = futures::future::try_join_all((0..6).map(|_| line.call(slow()))).await;
        assert_eq!(ended, Ok(vec![8, 8, 16, 16, 24, 24]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_calls_without_an_answer_nobody_is_called_until_a_probe_is_answered() {
        let line = line(8);
        for _ in 0..5 {
            assert!(!line.is_away());
            away(&line).await;
        }
        line.until_away_is(true).await;
        let unasked: Result<(), _> = line.call(async { panic!("it must not be called") }).await;
        assert!(matches!(unasked, Err(Failure::Away { .. })), "{unasked:?}");
        let start = Instant::now();
        let turn = line.turn().await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_millis(1_200), "{waited:?}");
        let second = tokio::spawn({
            let line = Arc::clone(&line);
            async move { line.turn().await.ticket }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "one at a time");
        assert_eq!(line.call(async { Ok(7) }).await, Ok(7));
        assert_eq!(second.await.expect("no panic"), None, "it is everybody's turn");
        assert!(!line.is_away());
        drop(turn);
        assert!(!line.is_away(), "a turn that was used is not given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_without_a_call_is_passed_on_at_once_and_a_failed_one_later() {
        let line = line(8);
        for _ in 0..5 {
            away(&line).await;
        }
        drop(line.turn().await);
        let start = Instant::now();
        line.turn().await.failed("no answer");
        assert!(start.elapsed() < Duration::from_millis(1), "{:?}", start.elapsed());
        drop(line.turn().await);
        assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
