//! The open list of what can happen to an order: kinds of this version, of other versions and of services elsewhere.

use std::{borrow::Cow, fmt};

use crate::EventKind;

/// The name of a kind of event, as the event log, the outbox and routing keys have it: `payment.completed`. Whoever reads the
/// log may meet a name that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(Cow<'static, str>);

impl EventName {
    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind; `None` where this version does not know it.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        self.0.parse().ok()
    }

    /// Returns the CloudEvents `type`: `orders.payment-completed.v1`, and in the same way for a kind that is not known.
    #[must_use]
    pub fn cloud_type(&self) -> Cow<'static, str> {
        self.kind()
            .map_or_else(|| format!("orders.{}.v1", self.0.replace('.', "-")).into(), |kind| kind.cloud_type().into())
    }
}

impl From<EventKind> for EventName {
    fn from(kind: EventKind) -> Self {
        Self(kind.routing_key().into())
    }
}

impl From<String> for EventName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_known_and_unknown_kinds_follow_from_their_names_alike() {
        for kind in EventKind::ALL {
            let by_rule = format!("orders.{}.v1", kind.dashed());
            assert_eq!(EventName::from(*kind).cloud_type(), by_rule, "consumers elsewhere derive it");
        }
        let unknown = EventName::from("loyalty.points-booked".to_owned());
        assert_eq!((unknown.kind(), unknown.cloud_type().as_ref()), (None, "orders.loyalty-points-booked.v1"));
    }
}
