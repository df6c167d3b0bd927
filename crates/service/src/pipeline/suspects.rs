//! Distinguishes lost deliveries from waiting ones: a lost delivery is missing in two passes, with its queue empty in
//! between.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::store::missing::{Pair, Unapplied, Whereabouts};

/// The unapplied deliveries and since when each has been missing in every pass, and since when queues have been empty.
#[derive(Debug, Default)]
pub struct Suspects {
    since: HashMap<Pair, Option<Instant>>,
    empty_since: HashMap<String, Instant>,
}

impl Suspects {
    /// Returns the unapplied deliveries.
    pub fn pairs(&self) -> Vec<Pair> {
        self.since.keys().cloned().collect()
    }

    /// Stops watching a delivery.
    pub fn forget(&mut self, pair: &Pair) {
        self.since.remove(pair);
    }

    /// Records the unapplied deliveries and the current queue depths. Returns the deliveries that have been missing for
    /// at least `apart`, and whose queue has been empty in every pass for as long.
    pub fn observe(
        &mut self,
        unapplied: Vec<Unapplied>,
        queues: &HashMap<String, u32>,
        now: Instant,
        apart: Duration,
    ) -> Vec<Pair> {
        self.empty_since.retain(|queue, _| queues.get(queue) == Some(&0));
        for (queue, _) in queues.iter().filter(|(_, ready)| **ready == 0) {
            self.empty_since.entry(queue.clone()).or_insert(now);
        }
        let before = std::mem::take(&mut self.since);
        let long_enough = |since: Option<&Instant>| since.is_some_and(|since| now.duration_since(*since) >= apart);
        let mut gone = Vec::new();
        for Unapplied { pair, whereabouts } in unapplied {
            let missing_since = match whereabouts {
                // An operator handles it, or has decided to discard it.
                Whereabouts::Dead | Whereabouts::Discarded => continue,
                Whereabouts::Outbox | Whereabouts::Retry => None,
                Whereabouts::Unknown => Some(before.get(&pair).copied().flatten().unwrap_or(now)),
            };
            let both = long_enough(missing_since.as_ref()) && long_enough(self.empty_since.get(&pair.subscription));
            if both {
                gone.push(pair.clone());
            }
            self.since.insert(pair, missing_since);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const QUEUE: &str = "email.order-created";
    const APART: Duration = Duration::from_secs(60);

    fn pair() -> Pair {
        Pair { event_id: Uuid::from_u128(1), subscription: QUEUE.to_owned() }
    }

    /// Returns how many deliveries each pass finds lost. The passes are a minute apart, each with the event's place and
    /// its queue's depth.
    fn looks(looks: &[(Whereabouts, Option<u32>)]) -> Vec<usize> {
        let (mut suspects, mut now) = (Suspects::default(), Instant::now());
        let look = |(whereabouts, ready): &(Whereabouts, Option<u32>)| {
            let queues = ready.iter().map(|ready| (QUEUE.to_owned(), *ready)).collect();
            let gone =
                suspects.observe(vec![Unapplied { pair: pair(), whereabouts: *whereabouts }], &queues, now, APART);
            now += APART;
            gone.len()
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn only_deliveries_missing_twice_from_an_empty_queue_are_sent() {
        use Whereabouts::{Dead, Discarded, Outbox, Retry, Unknown};
        assert_eq!(looks(&[(Unknown, Some(0)), (Unknown, Some(0)), (Unknown, Some(0))]), [0, 1, 1]);
        assert_eq!(looks(&[(Unknown, Some(0)), (Unknown, Some(3)), (Unknown, Some(0))]), [0, 0, 0], "a backlog");
        assert_eq!(looks(&[(Unknown, Some(9)), (Unknown, Some(9)), (Unknown, Some(9))]), [0, 0, 0], "a stopped worker");
        assert_eq!(looks(&[(Unknown, None), (Unknown, None), (Unknown, Some(0))]), [0, 0, 0], "no queue");
        assert_eq!(looks(&[(Retry, Some(0)), (Unknown, Some(0)), (Unknown, Some(0))]), [0, 0, 1], "a retry ended");
        assert_eq!(looks(&[(Unknown, Some(0)), (Outbox, Some(0)), (Unknown, Some(0))]), [0, 0, 0]);
        assert_eq!(looks(&[(Dead, Some(0)), (Dead, Some(0))]), [0, 0]);
        assert_eq!(looks(&[(Discarded, Some(0)), (Discarded, Some(0))]), [0, 0]);
    }

    #[test]
    fn two_passes_too_close_together_count_as_one() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        let queues = HashMap::from([(QUEUE.to_owned(), 0)]);
        let seen = || vec![Unapplied { pair: pair(), whereabouts: Whereabouts::Unknown }];
        assert_eq!(suspects.observe(seen(), &queues, now, APART), []);
        assert_eq!(suspects.observe(seen(), &queues, now + APART / 2, APART), []);
        assert_eq!(suspects.observe(seen(), &queues, now + APART, APART), [pair()]);
    }

    #[test]
    fn arrived_delivery_is_no_longer_a_suspect() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        let queues = HashMap::from([(QUEUE.to_owned(), 0)]);
        suspects.observe(vec![Unapplied { pair: pair(), whereabouts: Whereabouts::Unknown }], &queues, now, APART);
        assert_eq!(suspects.pairs(), [pair()]);
        suspects.observe(Vec::new(), &queues, now + APART, APART);
        assert_eq!(suspects.pairs(), []);
    }
}
