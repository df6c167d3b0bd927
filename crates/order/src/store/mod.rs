//! The SQL of orders, their idempotency keys and the catalogue.
//!
//! Functions take a connection, so that callers own the transaction.

pub(crate) mod cancel;
pub mod catalogue;
pub mod fold;
pub mod idempotency;
pub mod order_changes;
pub mod orders;
pub mod schema;
