//! The services of a shop, the providers that they call, and the only list of the services.
//!
//! `orderflow_service::process` runs them; `main.rs` only parses the command line of `cli.rs`.

pub mod cli;
pub mod providers;
pub mod services;

use std::sync::LazyLock;

use orderflow_service::Roster;

/// Returns the services that this installation is built with.
#[must_use]
pub fn roster() -> &'static Roster {
    static ROSTER: LazyLock<Roster> = LazyLock::new(|| Roster::new(services::all()));
    &ROSTER
}

#[cfg(test)]
mod tests {
    use orderflow_events::{EventKind, EventName};

    use super::*;

    #[test]
    fn roster_is_valid() {
        roster().check().unwrap_or_else(|mistake| panic!("{mistake}"));
    }

    #[test]
    fn every_event_type_has_a_subscription_so_that_none_is_unroutable() {
        for kind in EventKind::ALL {
            assert!(roster().subscriptions().iter().any(|one| one.event() == *kind), "no service consumes {kind}");
        }
    }

    /// The order service raises an order's version to that of its log when it consumes the event.
    #[test]
    fn order_service_consumes_every_event_type_that_the_front_end_does_not_write_with_the_order() {
        let by_front_end = [EventKind::OrderCreated, EventKind::OrderCancelRequested];
        for kind in EventKind::ALL.iter().filter(|kind| !by_front_end.contains(kind)) {
            let taken = roster().subscriptions().iter().any(|one| one.service() == "order" && one.event() == *kind);
            assert!(taken, "the order service does not consume {kind}: orders would stay behind their logs");
        }
    }

    /// Each service relays only its own event types, and a row of the table of events names one author.
    #[test]
    fn every_event_has_one_author() {
        for kind in EventKind::ALL {
            let authors =
                roster().services().filter(|service| service.publishes.contains(&EventName::of(*kind))).count();
            let by_front_end = [EventKind::OrderCreated, EventKind::OrderCancelRequested].contains(kind);
            assert_eq!(authors, usize::from(!by_front_end), "services that publish {kind}");
        }
    }
}
