//! Finds which of a channel's deliveries can be acknowledged together, with one frame.

use std::collections::BTreeSet;

use lapin::{message::Delivery, types::DeliveryTag};

/// The tags of a channel's deliveries that have arrived and are not settled: those in hand, and those that are left to
/// the channel, set aside or being put back.
///
/// An acknowledgement with `multiple` settles every earlier delivery of its channel too. So a [`Run`] reaches past none
/// of these deliveries.
///
/// Each channel needs its own, because tags start again with the channel. So this relies on lapin's automatic recovery
/// being off.
#[derive(Debug, Default)]
pub struct Unsettled(BTreeSet<DeliveryTag>);

impl Unsettled {
    /// Adds a delivery. Call it for every delivery of the channel, before any later one is settled.
    pub fn arrived(&mut self, delivery: &Delivery) {
        self.0.insert(delivery.delivery_tag);
    }

    /// Removes deliveries. Call it only once their acknowledgement or rejection has been sent or their channel is
    /// closed: lapin may send a later acknowledgement first.
    pub fn settled(&mut self, tags: &[DeliveryTag]) {
        for tag in tags {
            self.0.remove(tag);
        }
    }

    /// Splits deliveries into the longest run that starts with the channel's oldest unsettled delivery, and the others.
    #[must_use]
    pub fn run_of(&self, mut deliveries: Vec<Delivery>) -> (Run, Vec<Delivery>) {
        deliveries.sort_unstable_by_key(|delivery| delivery.delivery_tag);
        let pairs = self.0.iter().zip(&deliveries);
        let length = pairs.take_while(|(oldest, delivery)| **oldest == delivery.delivery_tag).count();
        let others = deliveries.split_off(length);
        (Run(deliveries), others)
    }
}

/// Deliveries that one frame can acknowledge, oldest first. Every earlier delivery of their channel is settled.
#[derive(Debug)]
pub struct Run(Vec<Delivery>);

impl Run {
    /// Returns the deliveries, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(tag: DeliveryTag) -> Delivery {
        Delivery::mock(tag, "".into(), "".into(), false, Vec::new())
    }

    fn arrived(tags: impl IntoIterator<Item = DeliveryTag>) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for tag in tags {
            unsettled.arrived(&delivery(tag));
        }
        unsettled
    }

    /// Returns the tags that are acknowledged together, and the others.
    fn run_of(unsettled: &Unsettled, tags: &[DeliveryTag]) -> (Vec<DeliveryTag>, Vec<DeliveryTag>) {
        let (run, others) = unsettled.run_of(tags.iter().copied().map(delivery).collect());
        let tags = |deliveries: &[Delivery]| deliveries.iter().map(|delivery| delivery.delivery_tag).collect();
        (tags(run.deliveries()), tags(&others))
    }

    #[test]
    fn run_starts_with_the_oldest_unsettled_delivery() {
        let unsettled = arrived(1..=6);
        assert_eq!(
            run_of(&unsettled, &[3, 1, 2]),
            (vec![1, 2, 3], vec![]),
            "batches are not in the sequence of arrival"
        );
        assert_eq!(run_of(&unsettled, &[2, 3]), (vec![], vec![2, 3]), "1 is still being handled");
        assert_eq!(run_of(&unsettled, &[]), (vec![], vec![]));
    }

    #[test]
    fn run_ends_before_a_delivery_of_another_batch() {
        let unsettled = arrived(1..=6);
        assert_eq!(run_of(&unsettled, &[6, 5, 1, 2]), (vec![1, 2], vec![5, 6]));
    }

    #[test]
    fn settled_deliveries_do_not_end_a_run() {
        let mut unsettled = arrived(1..=6);
        unsettled.settled(&[1, 3]);
        assert_eq!(run_of(&unsettled, &[2, 4, 6]), (vec![2, 4], vec![6]));
        unsettled.settled(&[2, 4, 5]);
        assert_eq!(run_of(&unsettled, &[6]), (vec![6], vec![]));
    }
}
