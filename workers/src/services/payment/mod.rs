//! The payment service: charges each order once.

mod order_created;
mod store;

pub use order_created::{ChargeOrder, Charged};
pub use store::Due;
