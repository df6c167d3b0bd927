//! The rules of an order that need no IO: its states, money, numbers, and the text that customers type.

mod card_number;
mod id;
pub mod mail_address;
mod money;
mod number;
mod phone;
pub mod postal_code;
mod status;
pub mod stripe;
mod text;

pub use card_number::looks_like_card_number;
pub use id::canonical_id;
pub use money::{Overflow, decimals, format as format_money, total};
pub use number::{NotANumber, OrderNumber};
pub use phone::normalize as normalize_phone;
pub use status::{OrderStatus, UnknownStatus, is_final};
pub use text::{Flaw, greetable, tidy};
