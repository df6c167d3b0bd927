//! The transaction of each step of an order.

use crate::{
    Safeguard,
    step::{Effect, Step},
    world::{Order, Payment, Reservation, Shipment},
};

/// Runs the step's transaction: changes the service's row, and returns the step whose event follows. `Err` if the row
/// does not match the effect: the delivery is then retried.
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
    // With the booking the row exists; without it this is the shipment's first write.
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
