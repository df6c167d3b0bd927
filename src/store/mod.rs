//! All SQL of the front end, the event log, the outbox and the inbox.
//!
//! Functions take a connection, so that callers own the transaction. A service's own rows are in its own store
//! (`workers/src/services/<service>/store.rs`).

pub mod actions;
pub mod audit;
pub mod audits;
pub mod cancel;
pub mod catalogue;
pub mod checkup;
mod connecting;
mod database;
pub mod discarded;
mod error;
pub mod event_log;
pub mod existing;
pub mod failures;
pub mod flow;
pub mod fold;
pub mod hold;
pub mod idempotency;
pub mod inbox;
pub mod migrations;
pub mod missing;
pub mod moved;
pub mod orders;
pub mod outbox;
pub mod pace;
pub mod pooler;
pub mod progress;
pub mod purged;
pub mod replays;
pub mod schema;
pub mod search;
pub mod sessions;
pub mod stock;
pub mod story;
mod text;
pub mod trial;
mod wire;

pub use database::{ANSWER_WITHIN, Database, PooledConnection};
pub use error::{Remedy, StoreError};
pub use wire::{Condition, Connection};
