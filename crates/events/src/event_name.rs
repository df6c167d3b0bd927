//! Names of event kinds. The list is open: this version has kinds, and so have other versions and registered services.

use std::{borrow::Cow, fmt};

use crate::EventKind;

/// The name of a kind of event, as in the event log, the outbox and routing keys: `payment.completed`. It begins with
/// the name of the service that publishes it, except for kinds in [`EventKind`] that are older than this rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(&'static str);

impl EventName {
    /// Stands for every kind that services publish and [`EventKind`] does not list. No event has this name: it names
    /// the queue that receives all of them.
    pub const OTHER: Self = Self("other");

    /// Creates the name of a registered service's kind: `loyalty.points-booked`.
    ///
    /// # Panics
    /// Panics unless the name is two parts of lower-case letters, digits and hyphens, separated by a full stop. In a
    /// constant this is a compile error.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(is_name(name.as_bytes()), "an event is named like loyalty.points-booked");
        Self(name)
    }

    /// Parses a name; returns `None` where [`EventName::new`] would panic.
    #[must_use]
    pub const fn parse(name: &'static str) -> Option<Self> {
        if is_name(name.as_bytes()) { Some(Self(name)) } else { None }
    }

    /// Returns the name of a kind of this version.
    #[must_use]
    pub const fn of(kind: EventKind) -> Self {
        Self(kind.routing_key())
    }

    /// Returns the name as in the log and in routing keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Returns whether it begins with the name of this service.
    #[must_use]
    pub fn is_of(self, service: &str) -> bool {
        self.0.strip_prefix(service).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Returns the part of a queue's name that names the event: `payment-completed`.
    #[must_use]
    pub fn dashed(self) -> String {
        self.0.replace('.', "-")
    }

    /// Returns the CloudEvents `type`: `orders.payment-completed.v1`.
    #[must_use]
    pub fn cloud_type(self) -> Cow<'static, str> {
        cloud_type(self.0)
    }
}

/// Returns the CloudEvents `type` of the kind with this name: `orders.payment-completed.v1`. A kind that this version
/// does not know follows the same rule.
#[must_use]
pub fn cloud_type(name: &str) -> Cow<'static, str> {
    match name.parse::<EventKind>() {
        Ok(kind) => kind.cloud_type().into(),
        Err(_) => format!("orders.{}.v1", name.replace('.', "-")).into(),
    }
}

const fn is_name(name: &[u8]) -> bool {
    let (mut at, mut stops, mut length) = (0, 0, 0);
    while at < name.len() {
        #[expect(
            clippy::indexing_slicing,
            reason = "constant functions have no iterators, and the loop condition checks the bound"
        )]
        let byte = name[at];
        if byte == b'.' && length > 0 {
            stops += 1;
            length = 0;
        } else if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' {
            length += 1;
        } else {
            return false;
        }
        at += 1;
    }
    stops == 1 && length > 0
}

impl From<EventKind> for EventName {
    fn from(kind: EventKind) -> Self {
        Self::of(kind)
    }
}

impl PartialEq<EventKind> for EventName {
    fn eq(&self, kind: &EventKind) -> bool {
        self.0 == kind.routing_key()
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_type_follows_from_the_name_for_known_and_unknown_kinds() {
        for kind in EventKind::ALL {
            let by_rule = format!("orders.{}.v1", EventName::of(*kind).dashed());
            assert_eq!(kind.cloud_type(), by_rule, "other consumers derive it from the name");
        }
        assert_eq!(EventName::new("loyalty.points-booked").cloud_type(), "orders.loyalty-points-booked.v1");
    }

    #[test]
    fn name_has_two_parts_that_are_valid_in_queue_names_and_routing_keys() {
        for name in ["loyalty.points-booked", "gift-cards.sold2"]
            .into_iter()
            .chain(EventKind::ALL.iter().map(|kind| kind.routing_key()))
        {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "loyalty",
            ".points",
            "loyalty.",
            "loyalty.points.booked",
            "Loyalty.points",
            "loyalty.points booked",
            "loyalty.*",
        ] {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
    }
}
