//! The services of a shop, the providers that they call, and the one list of the services.
//!
//! What runs them is `orderflow_service::process`; `main.rs` only reads the command line and the settings.

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
    fn roster_has_no_mistake() {
        roster().check().unwrap_or_else(|mistake| panic!("{mistake}"));
    }

    #[test]
    fn every_event_is_taken_so_that_none_is_unroutable() {
        for kind in EventKind::ALL {
            assert!(roster().subscriptions().iter().any(|one| one.event() == *kind), "nobody takes {kind}");
        }
    }

    /// An order's version is that of its log, and whoever takes the event brings it there.
    #[test]
    fn order_service_takes_every_event_but_those_that_the_front_end_writes_with_the_order() {
        let by_front_end = [EventKind::OrderCreated, EventKind::OrderCancelRequested];
        for kind in EventKind::ALL.iter().filter(|kind| !by_front_end.contains(kind)) {
            let taken = roster().subscriptions().iter().any(|one| one.service() == "order" && one.event() == *kind);
            assert!(taken, "the order service does not take {kind}: orders would stay behind their logs");
        }
    }

    /// What a handler says wakes nobody up unless somebody publishes it, and a row of the table of events has one author.
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
