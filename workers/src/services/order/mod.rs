//! The order service: keeps each order's status in step with the event log, and says when a cancelled order is done.

mod complete_cancel;
mod fold;
mod store;

pub use complete_cancel::{CompleteCancel, Reversed};
pub use fold::{FoldLog, MovesStatus};
