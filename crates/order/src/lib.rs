//! Orders: their rules, how they are placed and cancelled, and how they follow the event log. This crate depends
//! neither on HTTP nor on services.

pub mod cancelling;
pub mod domain;
pub mod payment_kind;
pub mod placing;
pub mod store;
pub mod token;

/// The source of the events that customers cause: placing an order and requesting a cancellation.
const SOURCE: &str = "/orderflow/web";
