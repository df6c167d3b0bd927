//! Tracks the deliveries in hand by their event, from arrival until settlement.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use chrono::Utc;
use lapin::message::Delivery;
use uuid::Uuid;

use crate::{
    broker::names,
    metrics::{InHand, QueueMetrics},
    pipeline::{event_metadata::attempt, received::Received},
    trace::{Kind, Span},
};

/// The deliveries of one queue that are in hand: received and not yet settled. Each is here, and nowhere else, until
/// its settlement begins.
pub struct Deliveries {
    queue: String,
    metrics: QueueMetrics,
    held: HashMap<Uuid, Held>,
}

struct Held {
    /// `None` once its settlement has begun.
    delivery: Option<Delivery>,
    event: Arc<Received>,
    /// Further deliveries of the same event. They wait for the outcome of this one.
    repeats: Vec<(Delivery, Received)>,
    in_hand: InHand,
    /// The step of the order's trace that this delivery is.
    step: Span,
}

impl Deliveries {
    /// Returns an empty set for a queue.
    #[must_use]
    pub fn new(queue: String, metrics: QueueMetrics) -> Self {
        Self { queue, metrics, held: HashMap::new() }
    }

    /// Returns whether no delivery is in hand.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a delivery in hand and returns its event.
    ///
    /// Returns `None` if the event is already in hand: the new delivery then waits for the outcome of the first one. It
    /// may be a plain repetition, which the inbox recognises. It may also be the retry of the first delivery, arriving
    /// while that delivery's batch is still being recorded.
    pub fn take(&mut self, delivery: Delivery, event: Received) -> Option<Arc<Received>> {
        match self.held.entry(event.id()) {
            Entry::Occupied(mut first) => {
                first.get_mut().repeats.push((delivery, event));
                None
            }
            Entry::Vacant(vacant) => {
                // Only for first deliveries: a message that a paused worker requeued has also waited for the provider.
                if delivery.exchange.as_str() == names::EVENTS && !delivery.redelivered {
                    // Negative if clocks differ.
                    self.metrics.lag((Utc::now() - event.time()).to_std().unwrap_or_default());
                }
                let held = vacant.insert(Held::begin(&self.queue, &self.metrics, delivery, event));
                Some(Arc::clone(&held.event))
            }
        }
    }

    /// Returns an event with its delivery; `None` once its settlement has begun.
    #[must_use]
    pub fn get(&self, event: Uuid) -> Option<(&Delivery, &Arc<Received>)> {
        let held = self.held.get(&event)?;
        Some((held.delivery.as_ref()?, &held.event))
    }

    /// Hands over the deliveries of these events for settlement. Further deliveries of them wait until
    /// [`Deliveries::settled`].
    pub fn settling(&mut self, events: &[Uuid]) -> Vec<Delivery> {
        events.iter().filter_map(|event| self.held.get_mut(event)?.delivery.take()).collect()
    }

    /// Forgets a settled event. Returns the event again if a further delivery of it waits.
    pub fn settled(&mut self, event: Uuid) -> Option<Arc<Received>> {
        let Held { mut repeats, in_hand, step, .. } = self.held.remove(&event)?;
        in_hand.settled();
        drop(step);
        let (delivery, event) = repeats.pop()?;
        let next = Held { repeats, ..Held::begin(&self.queue, &self.metrics, delivery, event) };
        let event = Arc::clone(&next.event);
        self.held.insert(event.id(), next);
        Some(event)
    }

    /// Forgets these events and returns all of their unsettled deliveries.
    pub fn forget(&mut self, events: impl IntoIterator<Item = Uuid>) -> Vec<Delivery> {
        let mut unsettled = Vec::new();
        for held in events.into_iter().filter_map(|event| self.held.remove(&event)) {
            held.in_hand.settled();
            unsettled.extend(held.delivery);
            unsettled.extend(held.repeats.into_iter().map(|(delivery, _)| delivery));
        }
        unsettled
    }

    /// Returns every delivery that waits for an earlier one of the same event.
    pub fn forget_repeats(&mut self) -> Vec<Delivery> {
        self.held.values_mut().flat_map(|held| held.repeats.drain(..)).map(|(delivery, _)| delivery).collect()
    }
}

impl Held {
    /// Begins this delivery's step of the order's trace. All later work on the event follows from that step.
    fn begin(queue: &str, metrics: &QueueMetrics, delivery: Delivery, mut event: Received) -> Self {
        let mut step = Span::after(Kind::Consumer, format!("process {queue}"), event.trace_context());
        step.message(event.metadata().about("process", queue));
        step.attempt(attempt(&delivery));
        event.begin(step.traceparent());
        Self { delivery: Some(delivery), event: Arc::new(event), repeats: Vec::new(), in_hand: metrics.take(), step }
    }
}

#[cfg(test)]
mod tests {
    use orderflow_events::{EventData as _, OrderCancelRequested};
    use serde_json::json;

    use super::*;
    use crate::metrics;

    fn deliveries() -> Deliveries {
        let queue = "shipping.order-cancel-requested".to_owned();
        let metrics = metrics::of_queue(&queue);
        Deliveries::new(queue, metrics)
    }

    /// Takes a delivery with this tag and event id.
    fn take(deliveries: &mut Deliveries, event: u128, tag: u64) -> bool {
        let id = Uuid::from_u128(event);
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/test", "type": "orders.order-cancel-requested.v1", "subject": id,
            "time": "2026-01-01T00:00:00.000Z", "datacontenttype": "application/json", "orderversion": 2,
            "correlationid": id, "data": { "by": "customer" }
        });
        let event = Received::decode(OrderCancelRequested::EVENT, event.to_string().as_bytes()).expect("an event");
        deliveries.take(Delivery::mock(tag, "".into(), "".into(), false, Vec::new()), event).is_some()
    }

    fn tags(deliveries: &[Delivery]) -> Vec<u64> {
        deliveries.iter().map(|delivery| delivery.delivery_tag).collect()
    }

    #[test]
    fn repeated_event_waits_until_the_first_delivery_is_settled() {
        let (mut held, id) = (deliveries(), Uuid::from_u128(1));
        assert!(take(&mut held, 1, 11));
        assert!(!take(&mut held, 1, 12), "already in hand");
        assert_eq!(tags(&held.settling(&[id])), [11]);
        assert!(held.get(id).is_none() && !take(&mut held, 1, 13), "in hand until settled");
        assert!(held.settled(id).is_some(), "a further delivery takes its place");
        assert!(held.get(id).is_some_and(|(delivery, _)| delivery.delivery_tag == 13));
        assert_eq!(tags(&held.settling(&[id])), [13]);
        assert!(held.settled(id).is_some() && held.get(id).is_some_and(|(delivery, _)| delivery.delivery_tag == 12));
        held.settling(&[id]);
        assert!(held.settled(id).is_none() && held.is_empty());
    }

    #[test]
    fn forgotten_events_return_every_delivery_that_is_not_settled() {
        let mut held = deliveries();
        for (event, tag) in [(1, 11), (1, 12), (2, 21), (2, 22), (3, 31)] {
            take(&mut held, event, tag);
        }
        assert_eq!(tags(&held.settling(&[Uuid::from_u128(2)])), [21]);
        assert_eq!(tags(&held.forget([1, 2].map(Uuid::from_u128))), [11, 12, 22]);
        assert_eq!(tags(&held.forget_repeats()), Vec::<u64>::new());
        assert!(take(&mut held, 1, 13), "no longer in hand");
        assert_eq!(tags(&held.settling(&[Uuid::from_u128(3)])), [31]);
    }

    #[test]
    fn only_repeats_are_forgotten_at_the_end() {
        let mut held = deliveries();
        for (event, tag) in [(1, 11), (1, 12), (1, 13)] {
            take(&mut held, event, tag);
        }
        assert_eq!(tags(&held.forget_repeats()), [12, 13]);
        assert_eq!(tags(&held.settling(&[Uuid::from_u128(1)])), [11]);
        assert!(held.settled(Uuid::from_u128(1)).is_none());
    }
}
