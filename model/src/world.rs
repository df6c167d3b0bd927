//! The complete state of one order: rows, messages, requests, and the effects at provider and carrier.

use crate::step::{Effect, Request, Step};

const STEPS: usize = Step::ALL.len();

/// The maximum number of copies of a message in a queue; more would reveal nothing new.
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
    /// No row.
    None,
    /// To be published.
    Waiting,
    /// Published, and not confirmed yet.
    Sent,
}

/// The delivery that a worker is handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hand {
    /// Nothing.
    Empty,
    /// A delivery, not prepared yet.
    Taken(Step),
    /// A delivery whose request is in flight.
    Asking(Step, Request),
    /// A delivery whose effect must be recorded.
    Acted(Step, Effect),
    /// A delivery whose effect is committed, and the step that follows.
    Committed(Step, Option<Step>),
}

/// The complete state of one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// Whether the carrier will refuse it.
    pub refused_by_carrier: bool,
    /// Whether there was a piece in stock at the start.
    pub in_stock: bool,
    /// Whether the customer has requested a cancel.
    pub cancel_requested: bool,
    /// The event log: the events that happened.
    pub log: [bool; STEPS],
    /// The outbox.
    pub outbox: [Row; STEPS],
    /// The messages in the queues.
    pub queues: [u8; STEPS],
    /// The workers, kept sorted because they are interchangeable.
    pub workers: [Hand; 2],
    /// The inbox: the applied events.
    pub inbox: [bool; STEPS],
    /// The payment service's row.
    pub payment: Payment,
    /// The inventory service's row.
    pub reservation: Reservation,
    /// The shipping service's row.
    pub shipment: Shipment,
    /// Pieces in stock.
    pub stock: u8,
    /// The counting service's count.
    pub counted: u8,
    /// Charges in the provider's ledger.
    pub charges: u8,
    /// Refunds in the provider's ledger.
    pub refunds: u8,
    /// Whether the charge was voided at the provider.
    pub voided: bool,
    /// Whether the carrier has the parcel.
    pub parcel: bool,
    /// Requests in flight whose worker no longer waits for the answer.
    pub stray: [u8; 4],
    /// Crashes and losses that may still happen.
    pub faults_left: u8,
}

impl Order {
    /// Returns an order that was just accepted: committed, with its event in the outbox.
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

    /// Returns whether nothing more happens unless the customer acts.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.outbox.iter().all(|row| *row == Row::None)
            && self.queues.iter().all(|waiting| *waiting == 0)
            && self.workers.iter().all(|hand| *hand == Hand::Empty)
            && self.stray.iter().all(|requests| *requests == 0)
    }

    /// Returns whether it is shipped and paid once, with nothing left over.
    #[must_use]
    pub fn is_shipped(&self) -> bool {
        let paid = self.payment == Payment::Succeeded && self.charges == 1 && self.refunds == 0;
        let held = self.reservation == Reservation::Reserved && self.stock == 0;
        self.shipment == Shipment::Created && self.parcel && paid && held && self.counted == 1
    }

    /// Returns whether it is undone without a trace.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        let money = match self.payment {
            Payment::Refunded => self.charges == 1 && self.refunds == 1,
            Payment::Voided => self.charges == 0 && self.refunds == 0,
            Payment::None | Payment::Succeeded => false,
        };
        !self.parcel && money && self.stock == u8::from(self.in_stock) && self.counted == 0
    }

    /// Returns whether the order ended correctly: shipped and paid, or undone without a trace.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_shipped() || self.is_undone()
    }

    /// Appends an event to the log and the outbox, as a transaction does.
    pub(crate) fn append(&mut self, step: Step) {
        self.log[step as usize] = true;
        self.outbox[step as usize] = Row::Waiting;
    }

    /// Makes the broker accept a message.
    pub(crate) fn put(&mut self, step: Step) {
        let waiting = &mut self.queues[step as usize];
        *waiting = COPIES.min(*waiting + 1);
    }
}
