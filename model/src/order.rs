//! One order passing through outbox, broker, workers, provider and carrier: what can happen, and what must hold.

use stateright::{Model, Property};

use crate::{
    Safeguard,
    step::{Request, Step},
    world::{Hand, Order, Payment, Row},
};

/// A transition of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The customer requests a cancel.
    Cancel,
    /// A relay publishes a row, and the broker accepts the message.
    Publish(Step),
    /// A relay publishes a row, and the message is lost.
    LosePublish(Step),
    /// The broker's confirm arrives.
    Confirm(Step),
    /// The broker's confirm is lost, or the relay's process dies before it sees it.
    LoseConfirm(Step),
    /// An intruder publishes a message for an event that has not happened.
    Forge(Step),
    /// The broker delivers a message to a worker.
    Deliver(usize, Step),
    /// A worker takes its next step.
    Work(usize),
    /// The provider or carrier carries out a worker's request, and answers.
    Answer(usize),
    /// The provider or carrier carries out the request of a worker that has died.
    Stray(Request),
    /// Such a request never arrives.
    LoseStray(Request),
    /// A worker dies, or loses its connection, or gives up waiting.
    Crash(usize),
}

/// One order, with a limited number of faults.
#[derive(Debug, Clone, Copy)]
pub struct OrderModel {
    /// The maximum number of crashes and losses.
    pub faults: u8,
    /// The safeguard left out.
    pub without: Option<Safeguard>,
}

impl Model for OrderModel {
    type State = Order;
    type Action = Action;

    fn init_states(&self) -> Vec<Order> {
        [(true, false), (true, true), (false, false)]
            .map(|(in_stock, refused)| Order::placed(in_stock, refused, self.faults))
            .to_vec()
    }

    fn actions(&self, order: &Order, actions: &mut Vec<Action>) {
        let fault = order.faults_left > 0;
        if !order.cancel_requested {
            actions.push(Action::Cancel);
        }
        for step in Step::ALL {
            match order.outbox[step as usize] {
                Row::None if fault && !order.log[step as usize] => actions.push(Action::Forge(step)),
                Row::None => {}
                Row::Waiting => {
                    actions.push(Action::Publish(step));
                    // A row that waits for its confirm is just published again, so this matters only without the
                    // safeguard.
                    if fault && !self.has(Safeguard::Confirm) {
                        actions.push(Action::LosePublish(step));
                    }
                }
                Row::Sent => {
                    actions.push(Action::Confirm(step));
                    if fault {
                        actions.push(Action::LoseConfirm(step));
                    }
                }
            }
        }
        for (worker, hand) in order.workers.iter().enumerate() {
            match hand {
                Hand::Empty => {
                    let waiting = Step::ALL.into_iter().filter(|step| order.queues[*step as usize] > 0);
                    actions.extend(waiting.map(|step| Action::Deliver(worker, step)));
                    continue;
                }
                Hand::Asking(..) => actions.push(Action::Answer(worker)),
                Hand::Taken(_) | Hand::Acted(..) | Hand::Committed(..) => actions.push(Action::Work(worker)),
            }
            if fault {
                actions.push(Action::Crash(worker));
            }
        }
        for request in [Request::Charge, Request::Void, Request::Refund, Request::Parcel] {
            if order.stray[request as usize] > 0 {
                actions.extend([Action::Stray(request), Action::LoseStray(request)]);
            }
        }
    }

    fn next_state(&self, before: &Order, action: Action) -> Option<Order> {
        let mut order = before.clone();
        match action {
            Action::Cancel => {
                order.cancel_requested = true;
                order.append(Step::Judge);
            }
            Action::Publish(step) => {
                let confirmed = if self.has(Safeguard::Confirm) { Row::Sent } else { Row::None };
                order.outbox[step as usize] = confirmed;
                order.put(step);
            }
            Action::LosePublish(step) => {
                order.faults_left -= 1;
                order.outbox[step as usize] = Row::None;
            }
            Action::Confirm(step) => order.outbox[step as usize] = Row::None,
            Action::LoseConfirm(step) => {
                order.faults_left -= 1;
                order.outbox[step as usize] = Row::Waiting;
            }
            Action::Forge(step) => {
                order.faults_left -= 1;
                order.put(step);
            }
            Action::Deliver(worker, step) => {
                order.queues[step as usize] -= 1;
                order.workers[worker] = Hand::Taken(step);
            }
            Action::Work(worker) => self.work(&mut order, worker),
            Action::Answer(worker) => self.answer(&mut order, worker),
            Action::Stray(request) => {
                order.stray[request as usize] -= 1;
                self.outside(&mut order, request);
            }
            Action::LoseStray(request) => order.stray[request as usize] -= 1,
            Action::Crash(worker) => self.crash(&mut order, worker),
        }
        order.workers.sort_unstable();
        Some(order)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("charged at most once", |_, order: &Order| order.charges <= 1),
            Property::always("refunded at most once", |_, order: &Order| order.refunds <= order.charges.min(1)),
            Property::always("never both shipped and refunded", |_, order: &Order| {
                !order.parcel || order.refunds == 0 && !order.voided
            }),
            Property::always("shipped only when paid", |_, order: &Order| !order.parcel || order.charges > 0),
            Property::always("never more in stock than there was", |_, order: &Order| {
                order.stock <= u8::from(order.in_stock)
            }),
            Property::always("counted at most once", |_, order: &Order| order.counted <= 1),
            Property::always("settled when at rest", |_, order: &Order| !order.at_rest() || order.is_settled()),
            // Without these the others could hold because nothing ever happens.
            Property::sometimes("ships", |_, order: &Order| order.at_rest() && order.is_shipped()),
            Property::sometimes("is refunded", |_, order: &Order| {
                order.at_rest() && order.payment == Payment::Refunded
            }),
            Property::sometimes("is voided", |_, order: &Order| order.at_rest() && order.payment == Payment::Voided),
        ]
    }
}

impl OrderModel {
    /// Returns whether the safeguard is in place.
    pub(crate) fn has(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }
}
