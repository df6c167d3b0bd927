//! A circuit breaker as a pure state machine: decides when to stop calling a provider and when to try it again.
//!
//! While it is closed, every call is allowed. [`ENOUGH`] unanswered calls in a row open it: no call is allowed. After a
//! wait it is half-open: one caller may probe the provider. An answer closes it; a failed probe opens it for longer.
//!
//! Callers pass the time in, so tests need no clock. Waiting, locking and logging belong to
//! [`CallGuard`](crate::call_guard::CallGuard).

use std::time::Duration;

use tokio::time::Instant;

/// Consecutive unanswered calls that open the breaker. Fewer may be coincidence; each costs a message one attempt.
const ENOUGH: u32 = 5;

/// The wait before the first probe. It doubles with each failed probe.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between probes. Recovery is noticed within this time plus one call's.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait that a provider may request (`Retry-After`).
const LONGEST_REQUESTED: Duration = Duration::from_secs(300);

/// If the breaker opens again within this time, the provider had not recovered, and the wait continues to grow from
/// where it was. This protects a provider that answers a single call but fails under load: it does not get full load
/// every second.
const RECOVERED: Duration = Duration::from_secs(60);

/// The permission for one call. Callers report the result with the ticket, so that results of calls that began before
/// the last change of state are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Who may call the provider next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Every caller.
    All,
    /// This caller: it must probe and report the result.
    Yours(Ticket),
    /// No caller before this time. Each caller adds a random delay of up to a tenth of `wait`, so that many processes
    /// do not probe at the same time.
    NotBefore {
        /// The time.
        at: Instant,
        /// The length of the whole wait.
        wait: Duration,
    },
    /// Another caller, which is probing now.
    Taken,
}

/// The change of state that a call's result caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No call is allowed now.
    Opened,
    /// A probe failed.
    StillUnavailable,
    /// Every call is allowed again; the breaker was open for this long.
    Closed(Duration),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { in_a_row: u32 },
    Open { until: Instant },
    HalfOpen { asked: bool },
}

/// A circuit breaker, initially closed.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Counts the changes of state. Tickets of an earlier epoch are void.
    epoch: u64,
    /// The wait of the latest opening.
    wait: Duration,
    opened_at: Option<Instant>,
    closed_at: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { in_a_row: 0 }, epoch: 0, wait: Duration::ZERO, opened_at: None, closed_at: None }
    }
}

impl Breaker {
    /// Returns whether every call is allowed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Returns a ticket for one call, or `None` if the provider must not be called.
    pub fn enter(&mut self) -> Option<Ticket> {
        match &mut self.state {
            State::Closed { .. } => Some(Ticket(self.epoch)),
            State::HalfOpen { asked } if !*asked => {
                *asked = true;
                Some(Ticket(self.epoch))
            }
            State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// Records that the provider answered, whatever the answer.
    pub fn answered(&mut self, ticket: Ticket, now: Instant) -> Option<Change> {
        if ticket != Ticket(self.epoch) {
            return None;
        }
        let was_probing = matches!(self.state, State::HalfOpen { .. });
        if !was_probing {
            self.state = State::Closed { in_a_row: 0 };
            return None;
        }
        self.change(State::Closed { in_a_row: 0 });
        self.closed_at = Some(now);
        Some(Change::Closed(self.opened_at.map_or(Duration::ZERO, |since| now.duration_since(since))))
    }

    /// Records that the provider did not answer. `requested` is the wait that the provider requested.
    pub fn unavailable(&mut self, ticket: Ticket, now: Instant, requested: Option<Duration>) -> Option<Change> {
        if ticket != Ticket(self.epoch) {
            return None;
        }
        match self.state {
            State::Closed { in_a_row } if in_a_row.saturating_add(1) < ENOUGH => {
                self.state = State::Closed { in_a_row: in_a_row.saturating_add(1) };
                None
            }
            State::Closed { .. } => {
                let recovered = self.closed_at.is_none_or(|closed| now.duration_since(closed) > RECOVERED);
                if recovered {
                    self.wait = Duration::ZERO;
                }
                self.opened_at = Some(now);
                self.open(now, requested);
                Some(Change::Opened)
            }
            State::HalfOpen { .. } => {
                self.open(now, requested);
                Some(Change::StillUnavailable)
            }
            State::Open { .. } => None,
        }
    }

    /// Returns who may call next. A caller that gets the probe keeps it until it reports a result or gives up.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.state {
            State::Closed { .. } => Next::All,
            State::HalfOpen { .. } => Next::Taken,
            State::Open { until } if until > now => Next::NotBefore { at: until, wait: self.wait },
            State::Open { .. } => {
                self.change(State::HalfOpen { asked: false });
                Next::Yours(Ticket(self.epoch))
            }
        }
    }

    /// Gives up the probe without a call, so that the next caller gets it immediately. Returns whether the ticket held
    /// it.
    pub fn give_up(&mut self, ticket: Ticket, now: Instant) -> bool {
        let had_it = ticket == Ticket(self.epoch) && matches!(self.state, State::HalfOpen { .. });
        if had_it {
            self.change(State::Open { until: now });
        }
        had_it
    }

    fn open(&mut self, now: Instant, requested: Option<Duration>) {
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        let wait = self.wait.max(requested.unwrap_or_default().min(LONGEST_REQUESTED));
        self.change(State::Open { until: now + wait });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a breaker that five calls have opened.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        let tickets: Vec<_> = (0..ENOUGH).filter_map(|_| breaker.enter()).collect();
        let changes: Vec<_> = tickets.into_iter().map(|ticket| breaker.unavailable(ticket, now, None)).collect();
        assert_eq!(changes, [None, None, None, None, Some(Change::Opened)]);
        breaker
    }

    fn turn(breaker: &mut Breaker, now: Instant) -> Ticket {
        match breaker.next(now) {
            Next::Yours(ticket) => ticket,
            other => panic!("the caller should get the probe: {other:?}"),
        }
    }

    /// Returns how long the breaker now waits.
    fn wait(breaker: &mut Breaker, now: Instant) -> Duration {
        match breaker.next(now) {
            Next::NotBefore { at, .. } => at - now,
            other => panic!("the breaker should wait: {other:?}"),
        }
    }

    #[test]
    fn occasional_answers_keep_the_breaker_closed() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for call in 0..20 {
            let ticket = breaker.enter().expect("it is closed");
            let change =
                if call % 5 == 4 { breaker.answered(ticket, now) } else { breaker.unavailable(ticket, now, None) };
            assert_eq!(change, None);
        }
        assert_eq!(breaker.next(now), Next::All);
    }

    #[test]
    fn open_breaker_refuses_calls_and_then_allows_one_probe() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.enter(), None);
        assert_eq!(wait(&mut breaker, now), FIRST_WAIT);
        let later = now + FIRST_WAIT;
        let probe = turn(&mut breaker, later);
        assert_eq!(breaker.next(later), Next::Taken, "one probe at a time");
        assert_eq!((breaker.enter(), breaker.enter()), (Some(probe), None), "a probe is one call");
        assert_eq!(breaker.answered(probe, later), Some(Change::Closed(FIRST_WAIT)));
        assert_eq!(breaker.next(later), Next::All);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = wait(&mut breaker, now);
            waits.push(wait.as_secs());
            now += wait;
            let probe = turn(&mut breaker, now);
            assert_eq!(breaker.unavailable(probe, now, None), Some(Change::StillUnavailable));
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }

    #[test]
    fn results_of_calls_that_began_before_it_opened_are_ignored() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let old = breaker.enter().expect("it is closed");
        for _ in 0..ENOUGH {
            let ticket = breaker.enter().expect("it is closed");
            breaker.unavailable(ticket, now, None);
        }
        assert_eq!(breaker.answered(old, now), None);
        assert_eq!(breaker.unavailable(old, now, None), None);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn abandoned_probe_goes_to_the_next_caller_immediately() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_WAIT;
        let first = turn(&mut breaker, later);
        assert!(breaker.give_up(first, later));
        let second = turn(&mut breaker, later);
        assert_eq!(breaker.answered(first, later), None, "the first ticket is void");
        assert!(breaker.answered(second, later).is_some());
    }

    #[test]
    fn wait_keeps_growing_when_the_provider_fails_again_soon_and_restarts_once_it_has_recovered() {
        let start = Instant::now();
        for (after, expected) in [(Duration::from_secs(2), 2), (RECOVERED + Duration::from_secs(1), 1)] {
            let mut breaker = opened(start);
            let closed = start + FIRST_WAIT;
            let probe = turn(&mut breaker, closed);
            breaker.answered(probe, closed);
            let again = closed + after;
            for _ in 0..ENOUGH {
                let ticket = breaker.enter().expect("it is closed");
                breaker.unavailable(ticket, again, None);
            }
            assert_eq!(wait(&mut breaker, again).as_secs(), expected);
        }
    }

    #[test]
    fn requested_wait_is_respected_up_to_a_limit() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let mut later = now + FIRST_WAIT;
        for (requested, expected) in [(30, 30), (1, 4), (86_400, 300)] {
            let probe = turn(&mut breaker, later);
            breaker.unavailable(probe, later, Some(Duration::from_secs(requested)));
            let wait = wait(&mut breaker, later);
            assert_eq!(wait.as_secs(), expected);
            later += wait;
        }
    }
}
