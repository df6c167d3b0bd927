//! Slows down guessing of operators' tokens: an address that sends wrong ones waits, longer each time.
//!
//! Each client address waits for its own mistakes, so an attacker elsewhere locks no operator out. Wrong tokens from many
//! addresses make those wait too from which no right one has come; addresses of operators who have worked here are exempt.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Wrong tokens of one address that are free: typing errors, and a script with last year's token.
const FREE: u32 = 5;

/// The same for all addresses together from which no right one has come.
const FREE_OF_ALL: u32 = 50;

/// The first wait; each mistake doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait of one address.
const LONGEST: Duration = Duration::from_secs(300);

/// The longest wait for the mistakes of others: an operator at a new address has to get through some time.
const LONGEST_OF_ALL: Duration = Duration::from_secs(10);

/// After so long without a mistake, all is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);

/// How long an address counts as an operator's after a right token.
const KNOWN_FOR: Duration = Duration::from_secs(12 * 60 * 60);

/// Addresses that are remembered; those beyond wait with all others.
const ADDRESSES: usize = 10_000;

/// How often room is made where so many are remembered: it goes through all of them.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Who may try a token. Cheap to clone.
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

/// Wrong tokens in a row.
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
            // Ten doublings are beyond every longest wait.
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
    /// Whether this address may try a token now.
    ///
    /// # Errors
    /// How long it has to wait.
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

    /// A wrong token came from this address.
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

    /// An operator's token came from this address.
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
    /// What is remembered of this address; `None` where no more can be.
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

    /// Mistakes of one address, each as soon as it may; returns how long they took altogether.
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
    fn who_guesses_waits_ever_longer_and_a_typing_error_costs_nothing() {
        let (guard, began) = (Guard::default(), Instant::now());
        assert_eq!(mistakes(&guard, address(1), FREE, began), Duration::ZERO);
        assert_eq!(guard.may_try(address(1), began), Err(FIRST_WAIT));
        // 1,000 guesses took half a second; now they take days.
        assert!(mistakes(&Guard::default(), address(1), 1_000, began) > Duration::from_secs(3 * 24 * 60 * 60));
        assert_eq!(guard.may_try(address(1), began + FIRST_WAIT), Ok(()));
        assert_eq!(guard.may_try(address(2), began), Ok(()), "others do not wait for it");
    }

    #[test]
    fn a_right_token_or_a_quarter_of_an_hour_ends_it() {
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
    fn so_many_addresses_are_remembered_and_no_more() {
        let (guard, began) = (Guard::default(), Instant::now());
        for number in 0..20_000 {
            guard.wrong(address(number), began);
        }
        assert_eq!(guard.guesses().clients.len(), ADDRESSES);
        guard.wrong(address(30_000), began + FORGET);
        assert_eq!(guard.guesses().clients.len(), 1, "what is old makes room");
    }
}
