//! Which order and event a delivery is about, for the log and the trace.

use lapin::message::Delivery;
use orderflow_events::Envelope;
use serde::Deserialize;
use tracing::Span;
use uuid::Uuid;

use crate::{
    broker::{
        headers::{self, ATTEMPT},
        names,
    },
    trace::{About, trace_id},
};

/// What every event says of itself, also one that cannot be handled.
#[derive(Debug, Clone, Deserialize)]
pub struct EventMetadata {
    /// The event.
    pub id: Uuid,
    /// The order.
    #[serde(rename = "subject")]
    pub order_id: Uuid,
    /// The placing request's id.
    #[serde(rename = "correlationid")]
    pub correlation_id: Uuid,
    /// The step of the trace that it follows from.
    pub traceparent: Option<String>,
}

impl EventMetadata {
    /// `None` where the message is no event.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        serde_json::from_slice(&delivery.data).ok()
    }

    /// As a step of a trace is told.
    pub fn about<'a>(&self, operation: &'static str, destination: &'a str) -> About<'a> {
        About { operation, destination, event: self.id, order: self.order_id, correlation: self.correlation_id }
    }
}

impl<E> From<&Envelope<E>> for EventMetadata {
    fn from(event: &Envelope<E>) -> Self {
        Self {
            id: event.id,
            order_id: event.order_id,
            correlation_id: event.correlation_id,
            traceparent: event.traceparent.clone(),
        }
    }
}

/// What every log line about one delivery carries (docs/LOGGING.md). It has no parent: inside another delivery's span, or
/// its own, each of these would be said twice.
pub fn log_span(queue: &str, delivery: Option<&Delivery>, head: Option<&EventMetadata>) -> Span {
    let event = head.map(|head| head.id).or_else(|| event_id(delivery?));
    tracing::info_span!(
        parent: None,
        "delivery",
        queue,
        attempt = delivery.map(attempt),
        order.id = head.map(|head| tracing::field::display(head.order_id)),
        event.id = event.map(tracing::field::display),
        correlation.id = head.map(|head| tracing::field::display(head.correlation_id)),
        trace.id = head.and_then(|head| trace_id(head.traceparent.as_deref()?)),
    )
}

/// The event, as far as the message says: by its id, or else by its body's.
pub fn event_id(delivery: &Delivery) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Id {
        id: Uuid,
    }
    let by_property = delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    by_property.or_else(|| serde_json::from_slice::<Id>(&delivery.data).ok().map(|body| body.id))
}

/// Which attempt this delivery is. Only what comes back from a retry tier is a further attempt: a dead letter that a
/// person moved back to its queue still has the header, but starts anew.
pub fn attempt(delivery: &Delivery) -> u32 {
    if delivery.exchange.as_str() != names::RETURN {
        return 1;
    }
    // The first one is 1, whatever somebody wrote: with 0 there would be no next one.
    number(delivery, ATTEMPT).unwrap_or(1).max(1)
}

/// Whether it begins anew: a dead letter that was replayed, or something that the reconciler missed. The first delivery of an
/// event comes from the exchange of events.
pub fn is_sent_again(delivery: &Delivery) -> bool {
    delivery.exchange.as_str() != names::EVENTS && attempt(delivery) == 1
}

/// The number in a header.
pub fn number(delivery: &Delivery, name: &str) -> Option<u32> {
    delivery.properties.headers().as_ref().and_then(|table| headers::number(table, name))
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    #[test]
    fn an_event_is_known_by_its_messages_id_or_by_its_bodys() {
        let id = Uuid::from_u128(7);
        let mut delivery = Delivery::mock(1, "".into(), "payment.order-created".into(), false, Vec::new());
        assert_eq!(event_id(&delivery), None);
        delivery.data = format!("{{\"id\":\"{id}\"}}").into_bytes();
        assert_eq!(event_id(&delivery), Some(id));
        delivery.properties = BasicProperties::default().with_message_id(Uuid::from_u128(8).to_string().into());
        assert_eq!(event_id(&delivery), Some(Uuid::from_u128(8)));
        delivery.properties = BasicProperties::default().with_message_id("mine".into());
        assert_eq!(event_id(&delivery), Some(id));
    }
}
