//! The email service: tells customers what became of their order, each thing once.
//!
//! The mails are sent alike ([`SendMail`]); what each says, and when, is in the file of its event.

mod letter;
mod money;
mod order_cancelled;
mod order_created;
mod payment_failed;
mod schema;
mod send;
mod shipment_created;
mod store;
mod templates;

pub use letter::{Letter, Written};
pub use send::{Draft, SendMail, Task};
pub use templates::{Line, Unwritable, View};
