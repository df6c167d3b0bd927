//! Estimates how long an order still takes, from the backlog and the throughput of each remaining step. Unknown figures
//! are not guessed.

use std::time::Duration;

use crate::{store::order_blockers::Blockers, way::Queue, web::queue_forecast::Picture};

use orderflow_service::Subscription;

/// An order that has waited this long at one step for no known reason is expected to take at least as long again. An
/// estimate that stays at two seconds for a minute would be misleading.
const PATIENCE: Duration = Duration::from_secs(5);

/// The estimate for an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimate {
    /// About this many seconds.
    About(f64),
    /// A step has no worker; the order continues when that step does.
    Waits,
    /// The shop's team must check the order.
    Person,
    /// No estimate is possible.
    Unknown,
}

/// Returns the estimate for an order that still passes these queues and has waited at its current step for `waited`.
pub fn estimate(picture: &Picture, path: &[Subscription], waited: Duration, hold: Blockers) -> Estimate {
    if hold.waits_for_a_person {
        return Estimate::Person;
    }
    let mut seconds = hold.again_in.unwrap_or(0.0).max(0.0);
    for subscription in path {
        let Some(queue) = picture.queues.get(subscription) else { return Estimate::Unknown };
        if !queue.is_worked {
            return Estimate::Waits;
        }
        let Some(step) = through(queue) else { return Estimate::Unknown };
        seconds += step;
    }
    if waited > PATIENCE && hold.again_in.is_none() {
        seconds = seconds.max(waited.as_secs_f64());
    }
    Estimate::About(seconds)
}

/// Returns how many seconds a new event takes in this queue: first the backlog, then its own processing.
fn through(queue: &Queue) -> Option<f64> {
    let before = match (queue.ready, queue.capacity) {
        (0, _) => 0.0,
        (ready, Some(capacity)) => f64::from(ready) / capacity,
        (_, None) => return None,
    };
    Some(before + queue.processing.unwrap_or(0.0))
}

impl Estimate {
    /// Returns the estimate as a sentence, with the usual time if that is known.
    pub fn sentence(self, usual: Option<f64>) -> String {
        let usually = usual.map(|seconds| format!("Usually {}", span(seconds)));
        match (self, usually) {
            (Self::About(now), Some(usually)) => format!("{usually}; now about {}.", span(now)),
            (Self::About(now), None) => format!("About {} from now.", span(now)),
            (Self::Waits, usually) => {
                let usually = usually.map_or_else(String::new, |usually| format!("{usually}, but "));
                let text = format!(
                    "{usually}one of our steps is paused at the moment. Your order waits its turn and then continues automatically."
                );
                capital(&text)
            }
            (Self::Person, _) => {
                "Something went wrong. Our team has to check your order; you do not need to do anything.".to_owned()
            }
            (Self::Unknown, usually) => {
                let usually = usually.map_or_else(String::new, |usually| format!("{usually}; "));
                capital(&format!("{usually}we cannot give an estimate at the moment."))
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Formats a duration as roughly as an estimate deserves: `2 s`, `40 s`, `5 min`, `3 h`.
fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{:.0} s", seconds.max(1.0).ceil())
    } else if seconds < 90.0 {
        format!("{:.0} s", (seconds / 5.0).ceil() * 5.0)
    } else if seconds < 5_400.0 {
        format!("{:.0} min", (seconds / 60.0).ceil())
    } else {
        format!("{:.0} h", (seconds / 3_600.0).ceil())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::way::{self, WATCHED, path};
    use orderflow_order::domain::OrderStatus;

    const IDLE: Queue = Queue { ready: 0, is_worked: true, capacity: Some(1_000.0), processing: Some(0.5) };

    fn picture(changed: &[(Subscription, Queue)]) -> Picture {
        let mut queues: HashMap<_, _> = WATCHED.iter().map(|subscription| (*subscription, IDLE)).collect();
        queues.extend(changed.iter().copied());
        Picture::of(queues, Some(2.0))
    }

    fn of_pending(picture: &Picture, waited: u64, hold: Blockers) -> Estimate {
        estimate(picture, path(OrderStatus::Pending, false), Duration::from_secs(waited), hold)
    }

    #[test]
    fn every_remaining_step_counts() {
        let idle = picture(&[]);
        for (status, steps) in [(OrderStatus::Pending, 4.0), (OrderStatus::Paid, 3.0), (OrderStatus::Reserved, 2.0)] {
            let found = estimate(&idle, path(status, false), Duration::ZERO, Blockers::default());
            assert_eq!(found, Estimate::About(steps * 0.5), "{status}");
        }
    }

    #[test]
    fn the_backlog_counts_towards_the_estimate() {
        let backlog = Queue { ready: 4_000, capacity: Some(100.0), ..IDLE };
        let busy = picture(&[(way::SHIPPING_INVENTORY_RESERVED, backlog)]);
        assert_eq!(of_pending(&busy, 0, Blockers::default()), Estimate::About(42.0));
        let unmeasured = Queue { capacity: None, ..backlog };
        let busy = picture(&[(way::SHIPPING_INVENTORY_RESERVED, unmeasured)]);
        assert_eq!(of_pending(&busy, 0, Blockers::default()), Estimate::Unknown);
    }

    #[test]
    fn a_step_without_a_worker_is_reported_wherever_it_is() {
        let stopped = Queue { is_worked: false, ..IDLE };
        for step in path(OrderStatus::Pending, false) {
            assert_eq!(of_pending(&picture(&[(*step, stopped)]), 0, Blockers::default()), Estimate::Waits, "{step}");
        }
        let behind_us = picture(&[(way::PAYMENT_ORDER_CREATED, stopped)]);
        let found = estimate(&behind_us, path(OrderStatus::Paid, false), Duration::ZERO, Blockers::default());
        assert_eq!(found, Estimate::About(1.5));
    }

    #[test]
    fn an_order_that_waits_without_a_reason_is_not_promised_two_seconds() {
        let idle = picture(&[]);
        assert_eq!(of_pending(&idle, 3, Blockers::default()), Estimate::About(2.0));
        assert_eq!(of_pending(&idle, 40, Blockers::default()), Estimate::About(40.0));
        let again = Blockers { again_in: Some(9.0), waits_for_a_person: false };
        assert_eq!(of_pending(&idle, 40, again), Estimate::About(11.0), "the reason is known");
        let dead = Blockers { again_in: None, waits_for_a_person: true };
        assert_eq!(of_pending(&idle, 0, dead), Estimate::Person);
        assert_eq!(of_pending(&Picture::of(HashMap::new(), None), 0, Blockers::default()), Estimate::Unknown);
    }

    #[test]
    fn estimates_are_sentences() {
        assert_eq!(Estimate::About(38.2).sentence(Some(1.7)), "Usually 2 s; now about 40 s.");
        assert_eq!(Estimate::About(0.01).sentence(None), "About 1 s from now.");
        assert_eq!(Estimate::About(400.0).sentence(Some(7_300.0)), "Usually 3 h; now about 7 min.");
        assert_eq!(Estimate::Unknown.sentence(None), "We cannot give an estimate at the moment.");
        assert!(Estimate::Waits.sentence(Some(2.0)).starts_with("Usually 2 s, but one of our steps is paused"));
        assert!(Estimate::Waits.sentence(None).starts_with("One of our steps"));
    }
}
