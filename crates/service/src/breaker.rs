//! When to leave a provider alone, and when to ask it again: a circuit breaker, as a pure state machine.
//!
//! Closed, everybody may ask. After [`ENOUGH`] calls in a row that it was away for, it opens: nobody asks. When its wait is
//! over one caller gets the turn to ask, the probe. An answer closes it; without one it opens again for longer.
//!
//! Time is handed in, so that tests need no clock. Waiting, locking and logging are [`CallGuard`](crate::call_guard::CallGuard)'s.

use std::time::Duration;

use tokio::time::Instant;

/// So many calls in a row without an answer are no coincidence; each of them costs a message an attempt.
const ENOUGH: u32 = 5;

/// The wait before the first probe; it doubles with each that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A provider that comes back is noticed within this time, plus that of a call.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait that a provider may wish for (`Retry-After`).
const LONGEST_WISH: Duration = Duration::from_secs(300);

/// One that opens again so soon after closing has not recovered: its wait goes on from where it was. So a provider that
/// answers one call and breaks down under many is not tried with many every second.
const RECOVERED: Duration = Duration::from_secs(60);

/// The right to make one call. What it came to is told with the ticket, so that calls which began before the breaker
/// changed its mind do not change it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Everybody's.
    All,
    /// The caller's: it is to probe, and to tell what came of it.
    Yours(Ticket),
    /// Nobody's before this moment; callers add up to a tenth of `wait`, each its own, so that many processes do not
    /// probe in the same moment.
    NotBefore {
        /// The moment.
        at: Instant,
        /// How long the whole wait is.
        wait: Duration,
    },
    /// Somebody else's, who is at it.
    Taken,
}

/// What a call's end has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nobody asks any more.
    Opened,
    /// A probe failed.
    StillAway,
    /// Everybody may ask again, after this long.
    Closed(Duration),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { in_a_row: u32 },
    Open { until: Instant },
    HalfOpen { asked: bool },
}

/// A breaker, closed at first.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Counts the changes of state; tickets of an earlier one are void.
    epoch: u64,
    /// The wait of the last opening.
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
    /// Whether everybody may ask.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// A ticket for one call, or none where the provider is to be left alone.
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

    /// The call was answered, whatever the answer.
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

    /// The call was not answered; `wish` is the provider's own, for how long it is to be left alone.
    pub fn away(&mut self, ticket: Ticket, now: Instant, wish: Option<Duration>) -> Option<Change> {
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
                self.open(now, wish);
                Some(Change::Opened)
            }
            State::HalfOpen { .. } => {
                self.open(now, wish);
                Some(Change::StillAway)
            }
            State::Open { .. } => None,
        }
    }

    /// Whose turn it is; a caller whose turn it is has it until it tells what came of it or gives it up.
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

    /// Whoever had the turn did not need it, or went away: it is the next one's at once.
    pub fn give_up(&mut self, ticket: Ticket, now: Instant) -> bool {
        let had_it = ticket == Ticket(self.epoch) && matches!(self.state, State::HalfOpen { .. });
        if had_it {
            self.change(State::Open { until: now });
        }
        had_it
    }

    fn open(&mut self, now: Instant, wish: Option<Duration>) {
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        let wait = self.wait.max(wish.unwrap_or_default().min(LONGEST_WISH));
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

    /// A breaker that five calls have opened.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        let tickets: Vec<_> = (0..ENOUGH).filter_map(|_| breaker.enter()).collect();
        let changes: Vec<_> = tickets.into_iter().map(|ticket| breaker.away(ticket, now, None)).collect();
        assert_eq!(changes, [None, None, None, None, Some(Change::Opened)]);
        breaker
    }

    fn turn(breaker: &mut Breaker, now: Instant) -> Ticket {
        match breaker.next(now) {
            Next::Yours(ticket) => ticket,
            other => panic!("it should be our turn: {other:?}"),
        }
    }

    /// How long the breaker now waits.
    fn wait(breaker: &mut Breaker, now: Instant) -> Duration {
        match breaker.next(now) {
            Next::NotBefore { at, .. } => at - now,
            other => panic!("it should wait: {other:?}"),
        }
    }

    #[test]
    fn an_answer_in_between_keeps_it_closed() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for call in 0..20 {
            let ticket = breaker.enter().expect("it is closed");
            let change = if call % 5 == 4 { breaker.answered(ticket, now) } else { breaker.away(ticket, now, None) };
            assert_eq!(change, None);
        }
        assert_eq!(breaker.next(now), Next::All);
    }

    #[test]
    fn open_it_lets_nobody_ask_and_then_one() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.enter(), None);
        assert_eq!(wait(&mut breaker, now), FIRST_WAIT);
        let later = now + FIRST_WAIT;
        let probe = turn(&mut breaker, later);
        assert_eq!(breaker.next(later), Next::Taken, "one probe at a time");
        assert_eq!((breaker.enter(), breaker.enter()), (Some(probe), None), "and one call");
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
            assert_eq!(breaker.away(probe, now, None), Some(Change::StillAway));
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }

    #[test]
    fn calls_from_before_it_opened_change_nothing_any_more() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let old = breaker.enter().expect("it is closed");
        for _ in 0..ENOUGH {
            let ticket = breaker.enter().expect("it is closed");
            breaker.away(ticket, now, None);
        }
        assert_eq!(breaker.answered(old, now), None);
        assert_eq!(breaker.away(old, now, None), None);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn a_turn_that_is_given_up_is_the_next_ones_at_once() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_WAIT;
        let first = turn(&mut breaker, later);
        assert!(breaker.give_up(first, later));
        let second = turn(&mut breaker, later);
        assert_eq!(breaker.answered(first, later), None, "the first one's ticket is void");
        assert!(breaker.answered(second, later).is_some());
    }

    #[test]
    fn a_provider_that_breaks_down_again_is_left_alone_for_longer_and_one_that_recovered_is_not() {
        let start = Instant::now();
        for (after, expected) in [(Duration::from_secs(2), 2), (RECOVERED + Duration::from_secs(1), 1)] {
            let mut breaker = opened(start);
            let closed = start + FIRST_WAIT;
            let probe = turn(&mut breaker, closed);
            breaker.answered(probe, closed);
            let again = closed + after;
            for _ in 0..ENOUGH {
                let ticket = breaker.enter().expect("it is closed");
                breaker.away(ticket, again, None);
            }
            assert_eq!(wait(&mut breaker, again).as_secs(), expected);
        }
    }

    #[test]
    fn what_the_provider_wishes_is_heeded_within_reason() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let mut later = now + FIRST_WAIT;
        for (wish, expected) in [(30, 30), (1, 4), (86_400, 300)] {
            let probe = turn(&mut breaker, later);
            breaker.away(probe, later, Some(Duration::from_secs(wish)));
            let wait = wait(&mut breaker, later);
            assert_eq!(wait.as_secs(), expected);
            later += wait;
        }
    }
}
