//! The rules of an order that need no IO: its states, its money, its names.

mod money;
mod number;
mod status;
pub mod stripe;

pub use money::{Overflow, decimals, format as format_money, total};
pub use number::{NotANumber, OrderNumber};
pub use status::{OrderStatus, UnknownStatus, is_final};
