//! Orderflow: an order is accepted over HTTP at once; everything after that happens by events on RabbitMQ.
//!
//! docs/ARCHITECTURE.md follows one order through these modules.

pub mod broker;
pub mod capacity;
pub mod ops;
pub mod services;
mod shares;
pub mod store;
pub mod way;
pub mod web;
