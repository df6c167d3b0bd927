//! The shipping service: hands each order to the carrier once, and decides whether it may still be cancelled.

mod inventory_reserved;
mod order_cancel_requested;
mod schema;
mod store;

pub use inventory_reserved::{ShipOrder, Task};
pub use order_cancel_requested::JudgeCancel;
pub use store::Consignment;
