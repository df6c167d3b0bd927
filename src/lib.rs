//! Orderflow: an order is accepted over HTTP at once; everything after that happens by events on RabbitMQ.
//!
//! docs/ARCHITECTURE.md follows one order through these modules.

pub mod advice;
mod backoff;
pub mod broker;
pub mod config;
pub mod domain;
pub mod fault;
pub mod group_commit;
pub mod http;
pub mod listen;
pub mod mail_address;
pub mod metrics;
pub mod ops;
pub mod periodic;
pub mod preflight;
pub mod process_identity;
pub mod shutdown;
pub mod store;
mod subscription;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trace;
pub mod way;
pub mod web;

pub use backoff::Backoff;
pub use subscription::Subscription;
