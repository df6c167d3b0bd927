//! The order and event that a delivery is about, for log lines and traces.

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

/// The fields that every event states, including events that cannot be handled.
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
    /// The trace step that it follows from.
    pub traceparent: Option<String>,
}

impl EventMetadata {
    /// Reads them from a delivery; `None` if the message is not an event.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        serde_json::from_slice(&delivery.data).ok()
    }

    /// Returns the attributes for a step of a trace.
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

/// Returns the span with the fields of every log line about one delivery (docs/LOGGING.md). It has no parent: nested in
/// another span, each field would be logged twice.
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

/// Returns the id of the event: from the message id or else from the body.
pub fn event_id(delivery: &Delivery) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Id {
        id: Uuid,
    }
    let by_property = delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    by_property.or_else(|| serde_json::from_slice::<Id>(&delivery.data).ok().map(|body| body.id))
}

/// Returns the attempt of this delivery, from 1. Trusts the header only on messages from `orders.return`: a dead letter
/// moved to its queue by hand still has the header, but starts again.
pub fn attempt(delivery: &Delivery) -> u32 {
    if delivery.exchange.as_str() != names::RETURN {
        return 1;
    }
    // The first attempt is 1, whatever the header says: with 0 there would be no next attempt.
    number(delivery, ATTEMPT).unwrap_or(1).max(1)
}

/// Returns whether the delivery is a replayed dead letter or was republished by the reconciler. The first delivery of
/// an event comes from `orders.events`.
pub fn is_sent_again(delivery: &Delivery) -> bool {
    delivery.exchange.as_str() != names::EVENTS && attempt(delivery) == 1
}

/// Returns the number in a header.
pub fn number(delivery: &Delivery, name: &str) -> Option<u32> {
    delivery.properties.headers().as_ref().and_then(|table| headers::number(table, name))
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    #[test]
    fn event_id_is_read_from_the_message_property_or_else_from_the_body() {
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
