//! The inventory service: sets stock aside, all items of an order or none.

mod payment_completed;
mod store;

pub use payment_completed::ReserveStock;
