//! The SQL of the front end and of the operators' commands.
//!
//! The SQL of the event log, the outbox and the inbox is in `orderflow_service::store`, that of orders in
//! `orderflow_order::store`, and a service's own in `workers/src/services/<service>/store.rs`.
//!
//! Functions take a connection, so that callers own the transaction.

pub mod actions;
pub mod audit;
pub mod checkup;
pub mod discarded;
pub mod flow;
pub mod order_blockers;
pub mod progress;
pub mod replays;
pub mod retention;
pub mod rights;
pub mod schema;
pub mod search;
pub mod sessions;
pub mod story;
pub mod trial;
