//! The safeguards that protect an order from crashes.

/// One safeguard of the protocol, which the model can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Safeguard {
    /// A step's event is an outbox row of the same transaction. Without: it is published after the commit, from memory.
    Outbox,
    /// An outbox row is deleted when the broker has confirmed its message. Without: when the message was sent.
    Confirm,
    /// A delivery is acknowledged after the commit. Without: when it arrives.
    AckAfterCommit,
    /// An event is applied once per subscription. Without: on every delivery.
    Inbox,
    /// The provider treats all requests for one order's charge, or its refund, as one. Without: each is separate.
    IdempotencyKey,
    /// Shipping writes its decision before it calls the carrier. Without: after the carrier has answered.
    Booking,
    /// A release that finds no reservation leaves a row that prevents a later one. Without: no row.
    ReservationTombstone,
    /// The provider decides whether an unknown charge has happened. Without: it counts as not charged.
    Void,
    /// A message is compared with the event log before it takes effect. Without: it is trusted.
    EventLogMatch,
    /// The stock is locked from reading to writing. Without: it is not.
    StockLock,
}
