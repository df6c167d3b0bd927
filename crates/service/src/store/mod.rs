//! The database: its pool and errors, and the SQL of the event log, outbox, inbox and failed attempts.
//!
//! Functions take a connection, so that the caller owns the transaction.

pub mod audits;
pub mod capacity;
mod connecting;
mod database;
mod error;
pub mod event_log;
pub mod failures;
mod gate;
pub mod inbox;
mod lock_holders;
mod migration_rights;
pub mod migrations;
pub mod missing;
pub mod outbox;
pub mod pace;
pub mod pooler;
mod prepared;
pub mod purged;
pub mod registered;
pub mod schema;
pub mod text;
mod wire;

pub use database::{ANSWER_WITHIN, Database, PooledConnection};
pub use error::{Remedy, StoreError};
pub use lock_holders::{Holder, Holders};
pub use prepared::{Prepare, Prepared};
pub use wire::{Condition, Connection, Protection};
