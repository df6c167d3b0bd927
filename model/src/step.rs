//! What each step of an order does when its effect is recorded.

use crate::{
    Safeguard,
    world::{Order, Payment, Reservation, Shipment},
};

/// One subscription's share in an order. Every step has one event that leads to it, so a step's name is also its event's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// `order.created` → payment
    Charge,
    /// `payment.completed` → inventory
    Reserve,
    /// `inventory.reserved` → shipping
    Ship,
    /// `order.cancel-requested` → shipping
    Judge,
    /// `shipment.cancelled` → inventory
    ReleaseCancelled,
    /// `shipment.failed` → inventory
    ReleaseRefused,
    /// `inventory.released` → payment
    ReverseReleased,
    /// `inventory.rejected` → payment
    ReverseRejected,
    /// `shipment.created` → a service that only counts: its effect is not idempotent by itself, as a booking of loyalty
    /// points would not be.
    Count,
}

impl Step {
    /// All of them; a step's place here is its place in the model's arrays.
    pub const ALL: [Self; 9] = [
        Self::Charge,
        Self::Reserve,
        Self::Ship,
        Self::Judge,
        Self::ReleaseCancelled,
        Self::ReleaseRefused,
        Self::ReverseReleased,
        Self::ReverseRejected,
        Self::Count,
    ];
}

/// What is asked of the outside world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// The payment provider, to charge.
    Charge,
    /// The payment provider, to settle that there is no charge and never will be.
    Void,
    /// The payment provider, to give a charge back.
    Refund,
    /// The carrier, to take the parcel.
    Parcel,
}

/// What the outside world has said, so far as it is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing was asked.
    None,
    /// Charged.
    Charged,
    /// There is no charge and never will be.
    Voided,
    /// Given back.
    Refunded,
    /// The carrier has the parcel.
    Accepted,
    /// The carrier does not take it.
    Refused,
}

/// The transaction of the step: changes the service's row, and returns the step whose event follows. `Err` where the
/// row is not what the effect took it for: the delivery is then retried.
pub(crate) fn record(
    order: &mut Order,
    step: Step,
    effect: Effect,
    without: Option<Safeguard>,
) -> Result<Option<Step>, ()> {
    match step {
        Step::Charge => Ok(charge(order, effect)),
        Step::Reserve => Ok(reserve(order)),
        Step::Ship => Ok(ship(order, effect)),
        Step::Judge => Ok(judge(order)),
        Step::ReleaseCancelled | Step::ReleaseRefused => Ok(release(order, without)),
        Step::ReverseReleased | Step::ReverseRejected => reverse(order, effect).map(|()| None),
        Step::Count => {
            order.counted += 1;
            Ok(None)
        }
    }
}

fn charge(order: &mut Order, effect: Effect) -> Option<Step> {
    if effect != Effect::Charged || order.payment != Payment::None {
        return None;
    }
    order.payment = Payment::Succeeded;
    Some(Step::Reserve)
}

fn reserve(order: &mut Order) -> Option<Step> {
    if order.reservation != Reservation::None {
        return None;
    }
    if order.stock == 0 {
        order.reservation = Reservation::Rejected;
        return Some(Step::ReverseRejected);
    }
    order.stock -= 1;
    order.reservation = Reservation::Reserved;
    Some(Step::Ship)
}

fn ship(order: &mut Order, effect: Effect) -> Option<Step> {
    // With the booking the row is there; without it this is the first that is written of the shipment.
    if !matches!(order.shipment, Shipment::None | Shipment::Booking) {
        return None;
    }
    match effect {
        Effect::Accepted => {
            order.shipment = Shipment::Created;
            Some(Step::Count)
        }
        Effect::Refused => {
            order.shipment = Shipment::Refused;
            Some(Step::ReleaseRefused)
        }
        _ => None,
    }
}

fn judge(order: &mut Order) -> Option<Step> {
    if order.shipment != Shipment::None {
        return None;
    }
    order.shipment = Shipment::Cancelled;
    Some(Step::ReleaseCancelled)
}

fn release(order: &mut Order, without: Option<Safeguard>) -> Option<Step> {
    match order.reservation {
        Reservation::None if without == Some(Safeguard::ReservationTombstone) => {}
        Reservation::None => order.reservation = Reservation::Cancelled,
        Reservation::Reserved => {
            order.reservation = Reservation::Released;
            order.stock += 1;
        }
        Reservation::Rejected | Reservation::Cancelled | Reservation::Released => return None,
    }
    Some(Step::ReverseReleased)
}

fn reverse(order: &mut Order, effect: Effect) -> Result<(), ()> {
    match (order.payment, effect) {
        (Payment::None | Payment::Succeeded, Effect::Refunded) => order.payment = Payment::Refunded,
        (Payment::None, Effect::Voided) => order.payment = Payment::Voided,
        (Payment::Succeeded, _) => return Err(()),
        _ => {}
    }
    Ok(())
}
