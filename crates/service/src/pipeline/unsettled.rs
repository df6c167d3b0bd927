//! Finds which of a channel's deliveries can be acknowledged together, with one frame.

use std::collections::BTreeSet;

use lapin::{message::Delivery, types::DeliveryTag};

/// The tags of a channel's deliveries that have arrived and are not settled.
///
/// An acknowledgement with `multiple` settles every earlier delivery of its channel too. So it is safe only if each of
/// them is either settled already or acknowledged by it. A delivery that is handled, retried, put back or left to its
/// channel is in this set, and therefore ends every run.
#[derive(Debug, Default)]
pub struct Unsettled(BTreeSet<DeliveryTag>);

impl Unsettled {
    /// Adds a delivery. Call it for every delivery of the channel as it arrives, in the sequence of arrival.
    pub fn arrived(&mut self, delivery: &Delivery) {
        self.0.insert(delivery.delivery_tag);
    }

    /// Removes deliveries. Call it only once their acknowledgement or rejection has been sent.
    pub fn settled(&mut self, tags: &[DeliveryTag]) {
        for tag in tags {
            self.0.remove(tag);
        }
    }

    /// Splits deliveries into those that can be acknowledged together and the others. The first are the longest run
    /// that starts with the channel's oldest unsettled delivery, in the sequence of arrival.
    #[must_use]
    pub fn run_of(&self, mut deliveries: Vec<Delivery>) -> (Vec<Delivery>, Vec<Delivery>) {
        deliveries.sort_unstable_by_key(|delivery| delivery.delivery_tag);
        let pairs = self.0.iter().zip(&deliveries);
        let length = pairs.take_while(|(oldest, delivery)| **oldest == delivery.delivery_tag).count();
        let others = deliveries.split_off(length);
        (deliveries, others)
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
        let tags = |deliveries: Vec<Delivery>| deliveries.iter().map(|delivery| delivery.delivery_tag).collect();
        (tags(run), tags(others))
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
