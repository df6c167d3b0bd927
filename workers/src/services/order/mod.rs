//! The order service: keeps each order's status in step with the event log.

mod fold;
mod store;

pub use fold::FoldLog;
