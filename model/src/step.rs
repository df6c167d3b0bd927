//! The steps of an order, their requests to provider and carrier, and the answers.

/// One subscription's handling of an order. Exactly one event leads to each step, so a step also names its event.
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
    /// `shipment.created` → a service that only counts: its effect alone is not idempotent, like adding loyalty points.
    Count,
}

impl Step {
    /// All steps, in the order of their indices in the model's arrays.
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

/// A request to provider or carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// Asks the payment provider to charge.
    Charge,
    /// Asks the payment provider to settle that there is no charge and never will be.
    Void,
    /// Asks the payment provider to refund a charge.
    Refund,
    /// Asks the carrier to accept the parcel.
    Parcel,
}

/// The part of an answer that a step records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// There was no request.
    None,
    /// Charged.
    Charged,
    /// There is no charge and never will be.
    Voided,
    /// Refunded.
    Refunded,
    /// The carrier has the parcel.
    Accepted,
    /// The carrier refuses the parcel.
    Refused,
}
