//! Subscriptions of services to event types. A subscription is one queue, and one actor in a worker.

use std::fmt;

use orderflow_events::{EventKind, EventName};

use crate::broker::names;

/// One service's subscription to one event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    service: &'static str,
    event: EventName,
}

impl Subscription {
    /// Returns this service's subscription to this event type. Only a [`Roster`](crate::Roster) knows whether it
    /// exists.
    #[must_use]
    pub const fn new(service: &'static str, kind: EventKind) -> Self {
        Self::to(service, EventName::of(kind))
    }

    /// Returns a subscription like [`Subscription::new`], but also accepts event types that this version does not know.
    #[must_use]
    pub const fn to(service: &'static str, event: EventName) -> Self {
        Self { service, event }
    }

    /// Returns the name of the subscribed service.
    #[must_use]
    pub const fn service(self) -> &'static str {
        self.service
    }

    /// Returns the event type, which is also the routing key of the queue's binding.
    #[must_use]
    pub const fn event(self) -> EventName {
        self.event
    }

    /// Returns the name of the queue, such as `payment.order-created`. The inbox uses the same name.
    #[must_use]
    pub fn queue(self) -> String {
        self.to_string()
    }

    /// Returns the name of the dead-letter queue, such as `payment.order-created.dlq`.
    #[must_use]
    pub fn dead_letter_queue(self) -> String {
        names::dead_letter_queue(&self.queue())
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.event.dashed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_by_service_and_event() {
        let charging = Subscription::new("payment", EventKind::OrderCreated);
        assert_eq!((charging.queue(), charging.to_string()), ("payment.order-created".into(), charging.queue()));
        assert_eq!(charging.dead_letter_queue(), "payment.order-created.dlq");
    }
}
