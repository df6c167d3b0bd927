//! How many bytes strangers can make a server hold, all connections together.
//!
//! Each connection has bounds of its own, but there may be thousands of connections. This adds up what they hold; above the
//! limit, connections that hold more than a little are closed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection may hold regardless of the others: a usual request, or the end of an answer.
const SMALL: usize = 16 * 1024;

/// Bytes that are held, of so many that may be.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    most: usize,
}

impl Budget {
    /// For so many bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { held: AtomicUsize::new(0), most }
    }

    /// A connection now holds `now` bytes where it held `before`. Returns whether it may.
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
    fn while_too_much_is_held_only_little_may_be_added() {
        let budget = Budget::new(100_000);
        assert!(budget.change(0, 60_000));
        assert!(!budget.change(0, 60_000), "together they would hold more");
        assert!(budget.change(0, SMALL), "small requests are still read");
        // A refused connection is closed, which releases what it had counted.
        assert!(budget.change(60_000, 0) && budget.change(60_000, 0) && budget.change(SMALL, 0));
        assert!(budget.change(0, 100_000));
    }
}
