//! Limits how many bytes clients can make a server hold, over all connections.
//!
//! Each connection has bounds of its own, but there may be thousands of connections. The budget adds up what they hold.
//! Above the limit, connections that hold more than a little are closed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection may hold regardless of the others: a usual request, or the end of a response.
const SMALL: usize = 16 * 1024;

/// The bytes that are held, and their limit.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    most: usize,
}

impl Budget {
    /// Returns a budget of this many bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { held: AtomicUsize::new(0), most }
    }

    /// Records that a connection holds `now` bytes instead of `before`. Returns whether the budget allows it.
    #[must_use]
    pub fn change(&self, before: usize, now: usize) -> bool {
        if now <= before {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
            return true;
        }
        let held = self.held.fetch_add(now - before, Ordering::Relaxed).saturating_add(now - before);
        now <= SMALL || held <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit_only_small_requests_are_allowed() {
        let budget = Budget::new(100_000);
        assert!(budget.change(0, 60_000));
        assert!(!budget.change(0, 60_000), "together they would hold more");
        assert!(budget.change(0, SMALL), "small requests are still read");
        // A refused connection is closed, which releases what it had counted as well.
        assert!(budget.change(60_000, 0) && budget.change(60_000, 0) && budget.change(SMALL, 0));
        assert!(budget.change(0, 100_000));
    }
}
