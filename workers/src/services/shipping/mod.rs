//! The shipping service: hands each order to the carrier once.

mod inventory_reserved;
mod store;

pub use inventory_reserved::ShipOrder;
