//! How many processes a queue needs and how long its backlog takes, by Little's law: events in hand = events a second ×
//! the seconds that one is in hand.
//!
//! The time in hand is what workers measure (`orderflow_queue_processing_seconds`): from a delivery until it is settled, the
//! wait for its turn at the provider and for its batch included. The slots are what bounds events in hand, which is
//! `PREFETCH` and not the number of calls at once: a wait for a call is part of the time. So at saturation slots ÷ time is
//! the throughput that is measured, whatever it is that holds it up. With little to do the time is that of one event by
//! itself: the capacity is then too high and the advice is 1, until there is more to do.
//!
//! Nothing here guesses: of what is not measured there is no advice.

/// A backlog should be gone within this time, in seconds.
pub const DRAIN_WITHIN: f64 = 60.0;

/// The share of its slots that a process should have in use: above it every small rush makes a queue.
pub const TARGET_UTILISATION: f64 = 0.7;

/// A quotient that is this little above a whole number is that number: the rest is what doubles cannot hold.
const ROUNDING: f64 = 1e-9;

/// What is measured of one queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Messages that wait in the broker.
    pub ready: u32,
    /// Events that come a second.
    pub arrivals: f64,
    /// Processes that work the queue now.
    pub processes: u32,
    /// Events that one of them has in hand at most, above 0.
    pub slots: f64,
    /// The mean time of an event in hand, in seconds.
    pub processing: f64,
}

/// When what waits now is gone, if all goes on as it does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drain {
    /// After so many seconds.
    Within(f64),
    /// Never: as much comes as goes, or more.
    Never,
}

impl Measured {
    /// Slots that are in use while what comes is handled and the backlog is gone within [`DRAIN_WITHIN`].
    #[must_use]
    pub fn load(&self) -> f64 {
        (self.arrivals + f64::from(self.ready) / DRAIN_WITHIN) * self.processing
    }

    /// Events a second of one process with all its slots in use.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.slots / self.processing
    }

    /// Processes that the queue needs, at least one.
    #[must_use]
    pub fn processes_needed(&self) -> u32 {
        whole((self.load() / self.slots / TARGET_UTILISATION - ROUNDING).ceil()).max(1)
    }

    /// When the backlog is gone.
    #[must_use]
    pub fn drain(&self) -> Drain {
        if self.ready == 0 {
            return Drain::Within(0.0);
        }
        let capacity = if self.processes == 0 { 0.0 } else { f64::from(self.processes) * self.capacity() };
        let surplus = capacity - self.arrivals;
        if surplus > 0.0 { Drain::Within(f64::from(self.ready) / surplus) } else { Drain::Never }
    }
}

/// A whole, positive number of processes; more than there can be is as many as there can be.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other way from a float, and this one saturates"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of one process with 512 slots.
    fn queue(ready: u32, arrivals: f64, processing: f64) -> Measured {
        Measured { ready, arrivals, processes: 1, slots: 512.0, processing }
    }

    #[test]
    fn with_little_to_do_one_process_is_enough() {
        assert_eq!(queue(0, 0.0, 0.02).processes_needed(), 1);
        assert_eq!(queue(0, 100.0, 0.02).processes_needed(), 1);
        assert_eq!(queue(0, 100.0, 0.0).processes_needed(), 1, "faster than the clock can tell");
        assert_eq!(queue(0, 100.0, 0.02).drain(), Drain::Within(0.0));
    }

    #[test]
    fn the_target_is_seven_tenths_of_the_slots() {
        // 358.4 slots in use are 70% of 512.
        assert_eq!(queue(0, 358.4, 1.0).processes_needed(), 1);
        assert_eq!(queue(0, 359.0, 1.0).processes_needed(), 2);
        assert_eq!(queue(0, 716.8, 1.0).processes_needed(), 2);
    }

    #[test]
    fn a_backlog_is_to_be_gone_within_a_minute() {
        // 60,000 messages in a minute are 1,000 a second; with 2 s each, 2,000 slots.
        let backlog = queue(60_000, 0.0, 2.0);
        assert!((backlog.load() - 2_000.0).abs() < 1e-6);
        assert_eq!(backlog.processes_needed(), 6);
        // One process does 256 a second.
        assert_eq!(backlog.drain(), Drain::Within(60_000.0 / 256.0));
        assert_eq!(Measured { processes: 6, ..backlog }.drain(), Drain::Within(60_000.0 / 1_536.0));
    }

    /// A mail server that takes ten mails at once, each in a second: ten a second, whatever the prefetch is.
    #[test]
    fn at_saturation_the_capacity_is_what_is_measured() {
        let (calls_at_once, call, prefetch) = (10.0, 1.0, 512.0);
        let throughput = calls_at_once / call;
        // All slots are in use, so an event is in hand for as long as 512 take to be handled.
        let saturated = Measured { slots: prefetch, ..queue(1_000, 20.0, prefetch / throughput) };
        assert!((saturated.capacity() - throughput).abs() < 1e-9);
        // (20 + 1,000 / 60) events a second by 10 a second and process, of which 70% are to be used.
        assert_eq!(saturated.processes_needed(), 6);
        assert_eq!(saturated.drain(), Drain::Never);
        // With calls at once for slots, the same measurement would say 51 times as many.
        assert!(Measured { slots: calls_at_once, ..saturated }.processes_needed() > 250);
    }

    #[test]
    fn what_comes_as_fast_as_it_goes_never_drains() {
        assert_eq!(queue(1, 512.0, 1.0).drain(), Drain::Never);
        assert_eq!(queue(1, 600.0, 1.0).drain(), Drain::Never);
        assert_eq!(queue(512, 256.0, 1.0).drain(), Drain::Within(2.0));
        assert_eq!(Measured { processes: 0, ..queue(5, 0.0, 1.0) }.drain(), Drain::Never, "nobody works it");
        assert_eq!(Measured { processes: 0, ..queue(5, 0.0, 0.0) }.drain(), Drain::Never);
    }

    #[test]
    fn more_than_can_be_counted_is_not_wrapped_round() {
        assert_eq!(queue(u32::MAX, 1e12, 1e6).processes_needed(), u32::MAX);
    }
}
