//! The protocol of Orderflow as a model small enough to be explored completely: one order, its outbox, a broker that
//! redelivers, two workers that may crash between any two steps, a payment provider and a carrier whose answers may be
//! lost, and a customer who may cancel at any moment.
//!
//! Each safeguard of the real system can be left out. The checker then finds the shortest path to the harm that the
//! safeguard prevents; with all of them there is no such path. docs/PROTOCOL.md says which code is which step.

#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "arrays are indexed by step; a panic here is a bug in the model, found immediately"
)]

pub mod order;
mod record;
pub mod safeguard;
pub mod step;
pub mod stock;
mod worker;
pub mod world;

pub use safeguard::Safeguard;
