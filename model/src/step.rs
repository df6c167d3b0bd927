//! The steps of an order, what each asks of the outside world, and what comes back.

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
