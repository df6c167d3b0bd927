//! An order's steps as its page lists them: the past, the current and the coming ones.

use chrono::{DateTime, Utc};
use orderflow_events::{EventKind, timestamp};
use orderflow_order::domain::OrderStatus;

use crate::{store::progress, web::entry};

/// A step, as the page lists it.
pub struct Step {
    /// `done`, `now`, `next` or `failed`, as in the stylesheet.
    pub state: &'static str,
    /// The step in a few words.
    pub name: String,
    /// The step in a sentence.
    pub detail: &'static str,
    /// When it happened, in RFC 3339; empty if it has not.
    pub at: String,
    /// When it happened, as the page shows it.
    pub clock: String,
}

impl Step {
    fn happened(step: &progress::Step) -> Self {
        // A newer version may have written an event that this one does not know. The page shows its name.
        let kind = step.event.parse::<EventKind>().ok();
        let failed =
            matches!(kind, Some(EventKind::PaymentFailed | EventKind::InventoryRejected | EventKind::ShipmentFailed));
        Self {
            state: if failed { "failed" } else { "done" },
            name: kind.map_or_else(|| step.event.clone(), |kind| done(kind).to_owned()),
            detail: kind.map(entry::detail).unwrap_or_default(),
            at: timestamp::format(&step.occurred_at),
            clock: clock(step.occurred_at),
        }
    }

    fn to_come(state: &'static str, name: &str) -> Self {
        Self { state, name: name.to_owned(), detail: "", at: String::new(), clock: String::new() }
    }

    /// Returns whether this is the current step.
    pub fn is_now(&self) -> bool {
        self.state == "now"
    }

    /// Returns whether the step succeeded.
    pub fn is_done(&self) -> bool {
        self.state == "done"
    }

    /// Returns whether the step failed.
    pub fn is_failed(&self) -> bool {
        self.state == "failed"
    }

    /// Returns the step's state for screen readers; others see it from the mark.
    pub fn spoken(&self) -> &'static str {
        match self.state {
            "done" => "Done:",
            "failed" => "Failed:",
            "now" => "Now:",
            _ => "Still to come:",
        }
    }
}

/// Returns every past step, then the coming ones as far as they are known.
pub fn steps(history: &[progress::Step], status: OrderStatus, cancel_requested: bool) -> Vec<Step> {
    let happened = |kind: EventKind| history.iter().any(|step| step.event == kind.routing_key());
    let coming: &[&str] = match status {
        OrderStatus::Pending | OrderStatus::Paid | OrderStatus::Reserved if cancel_requested => {
            &["Can it still be cancelled?"]
        }
        OrderStatus::Pending | OrderStatus::ActionRequired => {
            &["Payment", "Set aside for you", "Handed to the carrier"]
        }
        OrderStatus::Paid => &["Set aside for you", "Handed to the carrier"],
        OrderStatus::Reserved => &["Handed to the carrier"],
        OrderStatus::Cancelling if happened(EventKind::PaymentRefunded) || happened(EventKind::PaymentVoided) => {
            &["Order cancelled"]
        }
        OrderStatus::Cancelling => &["Payment reversed", "Order cancelled"],
        _ => &[],
    };
    let coming =
        coming.iter().enumerate().map(|(place, name)| Step::to_come(if place == 0 { "now" } else { "next" }, name));
    history.iter().map(Step::happened).chain(coming).collect()
}

const fn done(kind: EventKind) -> &'static str {
    match kind {
        EventKind::OrderCreated => "Order received",
        EventKind::PaymentCompleted => "Paid",
        EventKind::PaymentFailed => "Card declined",
        EventKind::InventoryReserved => "Set aside for you",
        EventKind::InventoryRejected => "No longer in stock",
        EventKind::ShipmentCreated => "Handed to the carrier",
        EventKind::ShipmentFailed => "Refused by the carrier",
        EventKind::OrderCancelRequested => "You asked to cancel",
        EventKind::ShipmentCancelled => "Stopped before shipping",
        EventKind::InventoryReleased => "Back on the shelf",
        EventKind::PaymentRefunded => "Money returned",
        EventKind::PaymentVoided => "Nothing charged",
        EventKind::OrderCancelled => "Order cancelled",
    }
}

/// A status in a word and in a sentence, with the class of its badge.
pub struct Headline {
    /// `good`, `bad`, `warn` or `info`.
    pub kind: &'static str,
    /// The badge.
    pub word: &'static str,
    /// The heading.
    pub sentence: &'static str,
}

/// Returns the headline of the page.
pub fn headline(status: Option<OrderStatus>, cancel_requested: bool) -> Headline {
    let (kind, word, sentence) = match status {
        Some(OrderStatus::Pending | OrderStatus::Paid | OrderStatus::Reserved) if cancel_requested => {
            ("warn", "Cancel requested", "We are checking whether it can still be cancelled")
        }
        Some(OrderStatus::Pending) => ("info", "Received", "We are taking your payment"),
        Some(OrderStatus::ActionRequired) => ("warn", "Waiting for you", "Your bank needs you to confirm the payment"),
        Some(OrderStatus::Paid) => ("info", "Paid", "We are setting your things aside"),
        Some(OrderStatus::Reserved) => ("info", "Set aside", "We are handing your parcel to the carrier"),
        Some(OrderStatus::Shipped) if cancel_requested => {
            ("good", "Shipped", "Your parcel is with the carrier: it was too late to cancel")
        }
        Some(OrderStatus::Shipped) => ("good", "Shipped", "Your parcel is with the carrier"),
        Some(OrderStatus::InTransit) => ("good", "On its way", "Your parcel is on its way"),
        Some(OrderStatus::Delivered) => ("good", "Delivered", "Your parcel has arrived"),
        Some(OrderStatus::PaymentFailed) => ("bad", "Declined", "Your card was declined; nothing was charged"),
        Some(OrderStatus::Cancelling) => ("warn", "Being cancelled", "We are cancelling your order"),
        Some(OrderStatus::Cancelled) => ("warn", "Cancelled", "Your order is cancelled"),
        // Only a newer version knows this status.
        None => ("info", "In progress", "Your order is in progress"),
    };
    Headline { kind, word, sentence }
}

/// Formats a time, such as `21:04:05 UTC`. The script replaces it with the customer's local time.
fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn shown(events: &[&str], status: OrderStatus, cancel_requested: bool) -> Vec<(String, &'static str)> {
        let step = |(event, version): (&&str, i32)| progress::Step {
            version,
            event_id: Uuid::nil(),
            event: (*event).to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
        };
        let history: Vec<_> = events.iter().zip(1..).map(step).collect();
        steps(&history, status, cancel_requested).into_iter().map(|step| (step.name, step.state)).collect()
    }

    fn named(steps: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        steps.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
    }

    #[test]
    fn past_steps_are_followed_by_coming_ones() {
        assert_eq!(
            shown(&["order.created", "payment.completed"], OrderStatus::Paid, false),
            named(&[
                ("Order received", "done"),
                ("Paid", "done"),
                ("Set aside for you", "now"),
                ("Handed to the carrier", "next")
            ])
        );
        assert_eq!(
            shown(&["order.created", "payment.failed"], OrderStatus::PaymentFailed, false),
            named(&[("Order received", "done"), ("Card declined", "failed")])
        );
    }

    #[test]
    fn a_cancelled_order_has_its_own_steps() {
        let refused = ["order.created", "payment.completed", "inventory.rejected"];
        let expected = [
            ("Order received", "done"),
            ("Paid", "done"),
            ("No longer in stock", "failed"),
            ("Payment reversed", "now"),
            ("Order cancelled", "next"),
        ];
        assert_eq!(shown(&refused, OrderStatus::Cancelling, false), named(&expected));
        let asked = shown(&["order.created", "order.cancel-requested"], OrderStatus::Pending, true);
        assert_eq!(asked.last(), Some(&("Can it still be cancelled?".to_owned(), "now")));
    }

    #[test]
    fn a_cancel_request_that_came_too_late_is_shown() {
        assert_eq!(headline(Some(OrderStatus::Shipped), false).sentence, "Your parcel is with the carrier");
        assert!(headline(Some(OrderStatus::Shipped), true).sentence.ends_with("it was too late to cancel"));
    }

    #[test]
    fn an_event_from_a_newer_version_is_shown_by_name() {
        assert_eq!(
            shown(&["order.gift-wrapped"], OrderStatus::Shipped, false),
            named(&[("order.gift-wrapped", "done")])
        );
    }
}
