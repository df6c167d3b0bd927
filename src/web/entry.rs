//! The entries of an order's history, as its customer sees them.

use chrono::{DateTime, Utc};
use orderflow_events::{EventKind, timestamp};
use orderflow_order::domain::OrderStatus;
use serde::Serialize;
use uuid::Uuid;

use crate::store::progress::Step;

/// One event of an order, as its customer sees it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The position in the order's history, from 1 without gaps.
    pub version: i32,
    event: String,
    event_id: Uuid,
    status: OrderStatus,
    #[serde(with = "timestamp")]
    at: DateTime<Utc>,
    detail: Option<&'static str>,
}

/// Returns the customer's view of a history. Each entry has the status after its event, so the history must be
/// complete.
pub fn entries(history: &[Step]) -> Vec<Entry> {
    let mut status = OrderStatus::Pending;
    let shown = history.iter().map(|step| {
        // A newer version may have written an event that this one does not know. Clients get its name.
        let kind = step.event.parse::<EventKind>().ok();
        // Same rule as in the order service: an event that the status does not allow leaves the status unchanged.
        status = kind.and_then(|kind| status.after(kind)).unwrap_or(status);
        Entry {
            version: step.version,
            event: step.event.clone(),
            event_id: step.event_id,
            status,
            at: step.occurred_at,
            detail: kind.map(detail),
        }
    });
    shown.collect()
}

/// Returns the customer's text for an event, without ids and without providers' reasons.
pub const fn detail(kind: EventKind) -> &'static str {
    match kind {
        EventKind::OrderCreated => "We have received your order.",
        EventKind::PaymentCompleted => "Your payment is complete.",
        EventKind::PaymentFailed => "Your payment was declined. Nothing was charged.",
        EventKind::InventoryReserved => "Everything you ordered is set aside for you.",
        EventKind::InventoryRejected => "Something you ordered is no longer in stock.",
        EventKind::ShipmentCreated => "Your parcel is with the carrier.",
        EventKind::ShipmentFailed => "The carrier cannot take your parcel.",
        EventKind::OrderCancelRequested => "You asked us to cancel your order.",
        EventKind::ShipmentCancelled => "Your order will not be sent.",
        EventKind::InventoryReleased => "Your items are no longer set aside.",
        EventKind::PaymentRefunded => "Your payment was refunded.",
        EventKind::PaymentVoided => "Nothing was charged.",
        EventKind::OrderCancelled => "Your order is cancelled.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(events: &[&str]) -> Vec<(i32, &'static str, bool)> {
        let step = |(event, version): (&&str, i32)| Step {
            version,
            event_id: Uuid::nil(),
            event: (*event).to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
        };
        let history: Vec<_> = events.iter().zip(1..).map(step).collect();
        entries(&history).iter().map(|entry| (entry.version, entry.status.as_str(), entry.detail.is_some())).collect()
    }

    #[test]
    fn each_entry_has_the_status_after_it() {
        let shown = shown(&["order.created", "payment.completed", "inventory.reserved"]);
        assert_eq!(shown, [(1, "pending", true), (2, "paid", true), (3, "reserved", true)]);
    }

    #[test]
    fn an_event_from_a_newer_version_is_shown_by_name() {
        let shown = shown(&["order.created", "order.gift-wrapped", "payment.completed"]);
        assert_eq!(shown, [(1, "pending", true), (2, "pending", false), (3, "paid", true)]);
    }
}
