//! Orderflow: the front end accepts an order over HTTP immediately; events on RabbitMQ drive everything after that.
//!
//! docs/ARCHITECTURE.md follows one order through these modules.

pub mod broker;
pub mod capacity;
pub mod cli;
pub mod ops;
pub mod services;
mod shares;
pub mod store;
pub mod way;
pub mod web;
