//! The email service: sends customers one mail per step of their order.
//!
//! All mails are sent in the same way ([`SendMail`]). The content of each is in the file of its event.

use orderflow_events::{OrderCancelled, OrderCreated, PaymentFailed, ShipmentCreated};
use orderflow_service::Service;

mod audit;
mod dependencies;
mod letter;
mod order_cancelled;
mod order_created;
mod payment_failed;
mod schema;
mod send;
mod settings;
mod shipment_created;
mod store;
mod templates;
mod trial;

pub use letter::Letter;
pub use send::{Draft, SendMail, Task};
pub use templates::{Line, Unwritable, View, Written};

use dependencies::EmailDependencies;

/// Returns the service.
#[must_use]
pub fn service() -> Service {
    Service::side("email", "Sends customers one mail per step of their order.")
        .audit(&[&audit::SUBJECT])
        .writes(trial::ROWS)
        .needs::<EmailDependencies>()
        .on("\"received\"", SendMail::<OrderCreated>::new)
        .on("\"declined\"", SendMail::<PaymentFailed>::new)
        .on("\"shipped\"", SendMail::<ShipmentCreated>::new)
        .on("\"cancelled\"", SendMail::<OrderCancelled>::new)
        .done()
}
