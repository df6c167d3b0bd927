//! Everything that there is of one order: rows, messages, requests, and what provider and carrier have done.

use crate::step::{Effect, Request, Step};

const STEPS: usize = Step::ALL.len();

/// Copies of one message that a queue holds at most; more would show nothing new.
const COPIES: u8 = 3;

/// The payment service's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the row's status")]
pub enum Payment {
    None,
    Succeeded,
    Refunded,
    Voided,
}

/// The inventory service's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the row's outcome")]
pub enum Reservation {
    None,
    Reserved,
    Rejected,
    Cancelled,
    Released,
}

/// The shipping service's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the row's status")]
pub enum Shipment {
    None,
    Booking,
    Created,
    Refused,
    Cancelled,
}

/// An outbox row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    /// There is none.
    None,
    /// To be published.
    Waiting,
    /// Published, and the broker's confirm not seen yet.
    Sent,
}

/// What a worker has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hand {
    /// Nothing.
    Empty,
    /// A delivery, not looked at yet.
    Taken(Step),
    /// A delivery whose request is on its way.
    Asking(Step, Request),
    /// A delivery whose effect is to be recorded.
    Acted(Step, Effect),
    /// A delivery whose effect is committed, and what follows from it.
    Committed(Step, Option<Step>),
}

/// The whole world of one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// Whether the carrier will refuse it.
    pub refused_by_carrier: bool,
    /// Whether there was a piece in stock at the beginning.
    pub in_stock: bool,
    /// Whether the customer has asked to cancel.
    pub cancel_requested: bool,
    /// The event log: which events happened.
    pub log: [bool; STEPS],
    /// The outbox.
    pub outbox: [Row; STEPS],
    /// What waits in the queues.
    pub queues: [u8; STEPS],
    /// The workers; which is which makes no difference, so they are kept sorted.
    pub workers: [Hand; 2],
    /// Which events are applied.
    pub inbox: [bool; STEPS],
    /// The payment service's row.
    pub payment: Payment,
    /// The inventory service's row.
    pub reservation: Reservation,
    /// The shipping service's row.
    pub shipment: Shipment,
    /// Pieces in stock.
    pub stock: u8,
    /// What the counting service has counted.
    pub counted: u8,
    /// Charges in the provider's ledger.
    pub charges: u8,
    /// Refunds there.
    pub refunds: u8,
    /// Whether the charge was given up there.
    pub voided: bool,
    /// Whether the carrier has the parcel.
    pub parcel: bool,
    /// Requests on their way whose worker does not wait for the answer any more.
    pub stray: [u8; 4],
    /// Crashes and losses that may still happen.
    pub faults_left: u8,
}

impl Order {
    /// An order that was just accepted: committed, and its event in the outbox.
    pub(crate) fn placed(in_stock: bool, refused_by_carrier: bool, faults: u8) -> Self {
        let mut order = Self {
            refused_by_carrier,
            in_stock,
            cancel_requested: false,
            log: [false; STEPS],
            outbox: [Row::None; STEPS],
            queues: [0; STEPS],
            workers: [Hand::Empty; 2],
            inbox: [false; STEPS],
            payment: Payment::None,
            reservation: Reservation::None,
            shipment: Shipment::None,
            stock: u8::from(in_stock),
            counted: 0,
            charges: 0,
            refunds: 0,
            voided: false,
            parcel: false,
            stray: [0; 4],
            faults_left: faults,
        };
        order.append(Step::Charge);
        order
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.outbox.iter().all(|row| *row == Row::None)
            && self.queues.iter().all(|waiting| *waiting == 0)
            && self.workers.iter().all(|hand| *hand == Hand::Empty)
            && self.stray.iter().all(|requests| *requests == 0)
    }

    /// Whether it is shipped, and paid once, and nothing is left behind.
    #[must_use]
    pub fn is_shipped(&self) -> bool {
        let paid = self.payment == Payment::Succeeded && self.charges == 1 && self.refunds == 0;
        let held = self.reservation == Reservation::Reserved && self.stock == 0;
        self.shipment == Shipment::Created && self.parcel && paid && held && self.counted == 1
    }

    /// Whether it is undone without a trace.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        let money = match self.payment {
            Payment::Refunded => self.charges == 1 && self.refunds == 1,
            Payment::Voided => self.charges == 0 && self.refunds == 0,
            Payment::None | Payment::Succeeded => false,
        };
        !self.parcel && money && self.stock == u8::from(self.in_stock) && self.counted == 0
    }

    /// Whether the order ended as an order may end: shipped and paid, or undone without a trace.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_shipped() || self.is_undone()
    }

    /// A transaction appends an event to the log and the outbox.
    pub(crate) fn append(&mut self, step: Step) {
        self.log[step as usize] = true;
        self.outbox[step as usize] = Row::Waiting;
    }

    /// The broker takes a message.
    pub(crate) fn put(&mut self, step: Step) {
        let waiting = &mut self.queues[step as usize];
        *waiting = COPIES.min(*waiting + 1);
    }
}
