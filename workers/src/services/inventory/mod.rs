//! The inventory service: sets stock aside, all items of an order or none, and takes it back from orders that end.

mod payment_completed;
mod release;
mod schema;
pub mod stock;
mod store;

pub use payment_completed::ReserveStock;
pub use release::{ReleaseStock, WillNotShip};
