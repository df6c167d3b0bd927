//! Takes each delivery to its settlement: one actor per queue prepares, acts, records and settles in batches.
//!
//! It knows handlers only through their trait.

pub mod acting;
pub mod actor;
pub mod consuming;
pub mod deliveries;
pub mod event_metadata;
pub mod failure_log;
pub mod isolation;
pub mod pace;
pub mod prepare;
pub mod queue_context;
pub mod received;
pub mod reconciler;
pub mod record;
pub mod retry_tiers;
pub mod retry_transaction;
pub mod settle;
pub mod supervise;
mod suspects;
mod tries;
pub mod unsettled;
pub mod verify;
pub mod worker_context;
