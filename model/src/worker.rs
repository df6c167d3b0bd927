//! How workers handle a delivery, and how provider and carrier answer.

use crate::{
    Safeguard,
    order::OrderModel,
    record::record,
    step::{Effect, Request, Step},
    world::{Hand, Order, Payment, Shipment},
};

impl OrderModel {
    /// Runs a worker's next step that needs no answer from provider or carrier.
    pub(crate) fn work(&self, order: &mut Order, worker: usize) {
        order.workers[worker] = match order.workers[worker] {
            Hand::Taken(step) => self.prepare(order, step),
            Hand::Acted(step, effect) => self.commit(order, step, effect),
            Hand::Committed(_, follow) => {
                // Acknowledges. Without an outbox the next event is also published here.
                follow.into_iter().for_each(|step| order.put(step));
                Hand::Empty
            }
            waiting @ (Hand::Empty | Hand::Asking(..)) => waiting,
        };
    }

    fn prepare(&self, order: &mut Order, step: Step) -> Hand {
        if self.has(Safeguard::EventLogMatch) && !order.log[step as usize] {
            // Dead-lettered.
            return Hand::Committed(step, None);
        }
        if self.has(Safeguard::Inbox) && order.inbox[step as usize] {
            return Hand::Committed(step, None);
        }
        match step {
            Step::Charge if order.payment == Payment::None => Hand::Asking(step, Request::Charge),
            Step::Ship => match order.shipment {
                Shipment::None if self.has(Safeguard::Booking) => {
                    order.shipment = Shipment::Booking;
                    Hand::Asking(step, Request::Parcel)
                }
                Shipment::None | Shipment::Booking => Hand::Asking(step, Request::Parcel),
                Shipment::Created | Shipment::Refused | Shipment::Cancelled => Hand::Acted(step, Effect::None),
            },
            Step::ReverseReleased | Step::ReverseRejected => match order.payment {
                Payment::Succeeded => Hand::Asking(step, Request::Refund),
                Payment::None if self.has(Safeguard::Void) => Hand::Asking(step, Request::Void),
                Payment::None => Hand::Acted(step, Effect::Voided),
                Payment::Refunded | Payment::Voided => Hand::Acted(step, Effect::None),
            },
            _ => Hand::Acted(step, Effect::None),
        }
    }

    fn commit(&self, order: &mut Order, step: Step, effect: Effect) -> Hand {
        if self.has(Safeguard::Inbox) && order.inbox[step as usize] {
            return Hand::Committed(step, None);
        }
        let Ok(follow) = record(order, step, effect, self.without) else { return Hand::Taken(step) };
        order.inbox[step as usize] = true;
        if !self.has(Safeguard::Outbox) {
            if let Some(follow) = follow {
                order.log[follow as usize] = true;
            }
            return Hand::Committed(step, follow);
        }
        if let Some(follow) = follow {
            order.append(follow);
        }
        Hand::Committed(step, None)
    }

    pub(crate) fn answer(&self, order: &mut Order, worker: usize) {
        if let Hand::Asking(step, request) = order.workers[worker] {
            let effect = self.outside(order, request);
            // A void that finds a charge becomes its refund.
            order.workers[worker] = if (request, effect) == (Request::Void, Effect::Charged) {
                Hand::Asking(step, Request::Refund)
            } else {
                Hand::Acted(step, effect)
            };
        }
    }

    /// Carries out a request as provider or carrier, and returns the answer.
    pub(crate) fn outside(&self, order: &mut Order, request: Request) -> Effect {
        let once = self.has(Safeguard::IdempotencyKey);
        match request {
            Request::Charge if order.voided => Effect::Voided,
            Request::Charge => {
                order.charges = if once { 1 } else { order.charges + 1 };
                Effect::Charged
            }
            Request::Void if order.charges > 0 => Effect::Charged,
            Request::Void => {
                order.voided = true;
                Effect::Voided
            }
            Request::Refund => {
                order.refunds = if once { 1 } else { order.refunds + 1 };
                Effect::Refunded
            }
            Request::Parcel if order.refused_by_carrier => Effect::Refused,
            Request::Parcel => {
                order.parcel = true;
                Effect::Accepted
            }
        }
    }

    /// Crashes a worker. An unacknowledged delivery is redelivered; its request may still arrive.
    pub(crate) fn crash(&self, order: &mut Order, worker: usize) {
        order.faults_left -= 1;
        let hand = std::mem::replace(&mut order.workers[worker], Hand::Empty);
        if let Hand::Asking(_, request) = hand {
            order.stray[request as usize] += 1;
        }
        let (Hand::Taken(step) | Hand::Asking(step, _) | Hand::Acted(step, _) | Hand::Committed(step, _)) = hand else {
            return;
        };
        if self.has(Safeguard::AckAfterCommit) {
            order.put(step);
        }
    }
}
