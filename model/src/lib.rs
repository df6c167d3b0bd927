//! The protocol of Orderflow as a model small enough to be walked through completely: one order, its outbox, a broker
//! that delivers again, two workers that may crash between any two steps, a payment provider and a carrier whose answers
//! may be lost, and a customer who may cancel at any moment.
//!
//! Each safeguard of the real thing can be left out. The checker then finds the shortest way to the harm that the
//! safeguard is there against; with all of them there is none. docs/PROTOCOL.md says which code is which step.

#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "an array for each thing that every step has one of; a panic here is a mistake of the model, found at once"
)]

pub mod order;
mod record;
pub mod safeguard;
pub mod step;
pub mod stock;
mod worker;
pub mod world;

pub use safeguard::Safeguard;
