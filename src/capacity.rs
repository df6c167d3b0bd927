//! How many processes a queue needs and how long its backlog takes, by Little's law: events in progress = events a
//! second × seconds that an event is in progress.
//!
//! Workers measure the processing time (`orderflow_queue_processing_seconds`) from a delivery until it is settled,
//! including the wait for the provider and for its batch. Slots bound the events in progress: that is `PREFETCH`, not
//! the number of concurrent calls, because waiting for a call is part of the time. At saturation, slots ÷ time is
//! therefore the measured throughput, whatever the bottleneck. With little load the time is that of a single event: the
//! capacity is then too high, and the advice is 1 until the load grows.
//!
//! Nothing here guesses: without a measurement there is no advice.

/// A backlog should be gone within this time, in seconds.
pub const DRAIN_WITHIN: f64 = 60.0;

/// The share of its slots that a process should use: above it, every small burst builds a queue.
pub const TARGET_UTILISATION: f64 = 0.7;

/// A quotient this close above a whole number counts as that number: the rest is floating-point error.
const ROUNDING: f64 = 1e-9;

/// The measurements of one queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Messages waiting in the broker.
    pub ready: u32,
    /// Events that arrive each second.
    pub arrivals: f64,
    /// Processes that consume the queue now.
    pub processes: u32,
    /// The most events that one process handles concurrently, above 0.
    pub slots: f64,
    /// The mean processing time of an event, in seconds.
    pub processing: f64,
}

/// When the backlog is gone, if arrivals and throughput stay as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drain {
    /// After this many seconds.
    Within(f64),
    /// Never: messages arrive at least as fast as they are handled.
    Never,
}

impl Measured {
    /// Returns the slots in use while arrivals are handled and the backlog drains within [`DRAIN_WITHIN`].
    #[must_use]
    pub fn load(&self) -> f64 {
        (self.arrivals + f64::from(self.ready) / DRAIN_WITHIN) * self.processing
    }

    /// Returns the events a second of one process with all its slots in use.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.slots / self.processing
    }

    /// Returns the number of processes that the queue needs, at least one.
    #[must_use]
    pub fn processes_needed(&self) -> u32 {
        whole((self.load() / self.slots / TARGET_UTILISATION - ROUNDING).ceil()).max(1)
    }

    /// Returns when the backlog is gone.
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

/// Converts to a whole number of processes; values out of range become the nearest bound.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float has no other conversion, and this one saturates"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a queue of one process with 512 slots.
    fn queue(ready: u32, arrivals: f64, processing: f64) -> Measured {
        Measured { ready, arrivals, processes: 1, slots: 512.0, processing }
    }

    #[test]
    fn one_process_is_enough_for_little_load() {
        assert_eq!(queue(0, 0.0, 0.02).processes_needed(), 1);
        assert_eq!(queue(0, 100.0, 0.02).processes_needed(), 1);
        assert_eq!(queue(0, 100.0, 0.0).processes_needed(), 1, "faster than the clock resolves");
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
    fn processes_needed_drain_a_backlog_within_a_minute() {
        // 60,000 messages in a minute are 1,000 a second; with 2 s each, 2,000 slots.
        let backlog = queue(60_000, 0.0, 2.0);
        assert!((backlog.load() - 2_000.0).abs() < 1e-6);
        assert_eq!(backlog.processes_needed(), 6);
        // One process does 256 a second.
        assert_eq!(backlog.drain(), Drain::Within(60_000.0 / 256.0));
        assert_eq!(Measured { processes: 6, ..backlog }.drain(), Drain::Within(60_000.0 / 1_536.0));
    }

    /// A mail server that accepts ten mails concurrently, each in a second: ten a second, whatever the prefetch.
    #[test]
    fn capacity_at_saturation_is_the_measured_throughput() {
        let (calls_at_once, call, prefetch) = (10.0, 1.0, 512.0);
        let throughput = calls_at_once / call;
        // All slots are in use, so an event is in progress for as long as 512 take to be handled.
        let saturated = Measured { slots: prefetch, ..queue(1_000, 20.0, prefetch / throughput) };
        assert!((saturated.capacity() - throughput).abs() < 1e-9);
        // (20 + 1,000 / 60) events a second ÷ 10 a second for each process, at 70% utilisation.
        assert_eq!(saturated.processes_needed(), 6);
        assert_eq!(saturated.drain(), Drain::Never);
        // With concurrent calls in place of slots, the same measurement would ask for 51 times as many.
        assert!(Measured { slots: calls_at_once, ..saturated }.processes_needed() > 250);
    }

    #[test]
    fn queue_with_arrivals_as_fast_as_its_capacity_never_drains() {
        assert_eq!(queue(1, 512.0, 1.0).drain(), Drain::Never);
        assert_eq!(queue(1, 600.0, 1.0).drain(), Drain::Never);
        assert_eq!(queue(512, 256.0, 1.0).drain(), Drain::Within(2.0));
        assert_eq!(Measured { processes: 0, ..queue(5, 0.0, 1.0) }.drain(), Drain::Never, "it has no consumer");
        assert_eq!(Measured { processes: 0, ..queue(5, 0.0, 0.0) }.drain(), Drain::Never);
    }

    #[test]
    fn processes_needed_saturates_instead_of_wrapping() {
        assert_eq!(queue(u32::MAX, 1e12, 1e6).processes_needed(), u32::MAX);
    }
}
