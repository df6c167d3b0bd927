//! Slows down guessing of operators' tokens: an address that sends invalid ones waits longer each time.
//!
//! Each address waits for its own mistakes, so an attacker elsewhere locks no operator out. Invalid tokens from many
//! addresses also delay every address that has not sent a valid token. Addresses of operators who worked here recently
//! are exempt.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Invalid tokens from one address that cause no wait: typing errors, or a script with last year's token.
const FREE: u32 = 5;

/// The same limit for all addresses together that have not sent a valid token.
const FREE_OF_ALL: u32 = 50;

/// The first wait; each mistake doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait of one address.
const LONGEST: Duration = Duration::from_secs(300);

/// The longest wait for mistakes of others: an operator at a new address must get through eventually.
const LONGEST_OF_ALL: Duration = Duration::from_secs(10);

/// The time without a mistake after which earlier ones are forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);

/// How long an address counts as an operator's after a valid token.
const KNOWN_FOR: Duration = Duration::from_secs(12 * 60 * 60);

/// The most addresses remembered; further ones share the wait of unknown addresses.
const ADDRESSES: usize = 10_000;

/// The shortest time between two clean-ups at that limit: a clean-up visits every address.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Decides which addresses may try a token. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard(Arc<Mutex<Guesses>>);

#[derive(Debug, Default)]
struct Guesses {
    clients: HashMap<IpAddr, Client>,
    strangers: Mistakes,
    tidied: Option<Instant>,
}

#[derive(Debug, Default)]
struct Client {
    mistakes: Mistakes,
    right_at: Option<Instant>,
}

/// Consecutive invalid tokens.
#[derive(Debug, Default)]
struct Mistakes {
    count: u32,
    last: Option<Instant>,
    wait: Duration,
}

impl Mistakes {
    fn add(&mut self, now: Instant, free: u32, longest: Duration) {
        if self.is_old(now) {
            *self = Self::default();
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
        self.wait = match self.count.checked_sub(free) {
            None => Duration::ZERO,
            // Ten doublings exceed each of the longest waits.
            Some(beyond) => FIRST_WAIT.saturating_mul(1 << beyond.min(10)).min(longest),
        };
    }

    fn remaining(&self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.last?);
        self.wait.checked_sub(passed).filter(|remaining| !remaining.is_zero())
    }

    fn is_old(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= FORGET)
    }
}

impl Client {
    fn is_known(&self, now: Instant) -> bool {
        self.right_at.is_some_and(|at| now.saturating_duration_since(at) < KNOWN_FOR)
    }
}

impl Guard {
    /// Checks whether this address may try a token now.
    ///
    /// # Errors
    /// Returns the time that it still has to wait.
    pub fn may_try(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let guesses = self.guesses();
        let (own, is_known) = guesses.clients.get(&client).map_or((None, false), |client| {
            let known = client.is_known(now);
            (client.mistakes.remaining(now), known)
        });
        let of_all = guesses.strangers.remaining(now).filter(|_| !is_known);
        match own.max(of_all) {
            Some(wait) => Err(wait),
            None => Ok(()),
        }
    }

    /// Records an invalid token from this address.
    pub fn wrong(&self, client: IpAddr, now: Instant) {
        let mut guesses = self.guesses();
        let is_known = guesses.clients.get(&client).is_some_and(|client| client.is_known(now));
        if !is_known {
            guesses.strangers.add(now, FREE_OF_ALL, LONGEST_OF_ALL);
        }
        if let Some(client) = guesses.of(client, now) {
            client.mistakes.add(now, FREE, LONGEST);
        }
    }

    /// Records an operator's token from this address.
    pub fn right(&self, client: IpAddr, now: Instant) {
        if let Some(client) = self.guesses().of(client, now) {
            *client = Client { mistakes: Mistakes::default(), right_at: Some(now) };
        }
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guesses {
    /// Returns the record of this address, or `None` if no more addresses fit.
    fn of(&mut self, client: IpAddr, now: Instant) -> Option<&mut Client> {
        if self.clients.len() >= ADDRESSES && !self.clients.contains_key(&client) {
            if self.tidied.is_none_or(|at| now.saturating_duration_since(at) >= TIDY_EVERY) {
                self.clients.retain(|_, client| client.is_known(now) || !client.mistakes.is_old(now));
                self.tidied = Some(now);
            }
            if self.clients.len() >= ADDRESSES {
                return None;
            }
        }
        Some(self.clients.entry(client).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    /// Makes mistakes from one address, each as early as allowed, and returns how long they took in total.
    fn mistakes(guard: &Guard, client: IpAddr, count: u32, began: Instant) -> Duration {
        let mut now = began;
        for _ in 0..count {
            while let Err(wait) = guard.may_try(client, now) {
                now += wait;
            }
            guard.wrong(client, now);
        }
        now - began
    }

    #[test]
    fn repeated_guesses_wait_ever_longer_and_a_typing_error_costs_nothing() {
        let (guard, began) = (Guard::default(), Instant::now());
        assert_eq!(mistakes(&guard, address(1), FREE, began), Duration::ZERO);
        assert_eq!(guard.may_try(address(1), began), Err(FIRST_WAIT));
        // Without the guard, 1,000 guesses took half a second; with it, they take days.
        assert!(mistakes(&Guard::default(), address(1), 1_000, began) > Duration::from_secs(3 * 24 * 60 * 60));
        assert_eq!(guard.may_try(address(1), began + FIRST_WAIT), Ok(()));
        assert_eq!(guard.may_try(address(2), began), Ok(()), "others do not wait for it");
    }

    #[test]
    fn a_valid_token_or_fifteen_minutes_resets_the_count() {
        let (guard, began) = (Guard::default(), Instant::now());
        mistakes(&guard, address(1), FREE, began);
        guard.right(address(1), began + FIRST_WAIT);
        assert_eq!(mistakes(&guard, address(1), FREE, began + FIRST_WAIT), Duration::ZERO);
        let later = began + FIRST_WAIT + FORGET;
        guard.wrong(address(1), later);
        assert_eq!(guard.may_try(address(1), later), Ok(()));
    }

    #[test]
    fn guesses_from_many_addresses_make_strangers_wait_and_not_operators() {
        let (guard, began) = (Guard::default(), Instant::now());
        guard.right(address(1), began);
        for number in 100..100 + FREE_OF_ALL + 20 {
            guard.wrong(address(number), began);
        }
        assert_eq!(guard.may_try(address(2), began), Err(LONGEST_OF_ALL));
        assert_eq!(guard.may_try(address(1), began), Ok(()), "an operator has worked there");
        assert_eq!(guard.may_try(address(2), began + LONGEST_OF_ALL), Ok(()));
        assert_eq!(guard.may_try(address(1), began + KNOWN_FOR), Ok(()));
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let (guard, began) = (Guard::default(), Instant::now());
        for number in 0..20_000 {
            guard.wrong(address(number), began);
        }
        assert_eq!(guard.guesses().clients.len(), ADDRESSES);
        guard.wrong(address(30_000), began + FORGET);
        assert_eq!(guard.guesses().clients.len(), 1, "old addresses make room");
    }
}
