//! What stands between an order and a crash.

/// One safeguard of the protocol, which a model can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Safeguard {
    /// What follows from a step is a row of the same transaction. Without: it is published after the commit, from memory.
    Outbox,
    /// An outbox row is deleted when the broker has confirmed its message. Without: when it was sent.
    Confirm,
    /// A delivery is acknowledged after the commit. Without: when it arrives.
    AckAfterCommit,
    /// An event is applied once per subscription. Without: whenever it arrives.
    Inbox,
    /// Requests for one order's charge, or its refund, are one to the provider. Without: each is its own.
    IdempotencyKey,
    /// Shipping writes its decision before the carrier is asked. Without: after the carrier has answered.
    Booking,
    /// A release that finds no reservation leaves a row that keeps it from being made later. Without: no row.
    ReservationTombstone,
    /// Whether a charge of which nothing is known has happened is settled by the provider. Without: it is taken for not
    /// charged.
    Void,
    /// A message is matched with the event log before anything is done about it. Without: it is believed.
    EventLogMatch,
    /// The stock is locked from looking to writing. Without: it is not.
    StockLock,
}
