//! The events of an order: their envelope, their kinds, and one file for the data of each.
//!
//! No event contains a name, an address or an e-mail address: personal data stays in the database, where it can be
//! erased.

mod envelope;
mod event_name;
mod inventory_rejected;
mod inventory_released;
mod inventory_reserved;
mod kind;
mod order_cancel_requested;
mod order_cancelled;
mod order_created;
mod other_event;
mod payment_completed;
mod payment_failed;
mod payment_refunded;
mod payment_voided;
#[cfg(feature = "schema")]
pub mod schema;
mod shipment_cancelled;
mod shipment_created;
mod shipment_failed;
pub mod timestamp;

pub use envelope::{CONTENT_TYPE, DecodeError, Envelope, EventData, Logged, NewEvent};
pub use event_name::EventName;
pub use inventory_rejected::{InventoryRejected, ShortItem};
pub use inventory_released::InventoryReleased;
pub use inventory_reserved::InventoryReserved;
pub use kind::{EventKind, UnknownEvent};
pub use order_cancel_requested::OrderCancelRequested;
pub use order_cancelled::{OrderCancelled, Refunded};
pub use order_created::{OrderCreated, OrderedItem};
pub use other_event::OtherEvent;
pub use payment_completed::PaymentCompleted;
pub use payment_failed::PaymentFailed;
pub use payment_refunded::PaymentRefunded;
pub use payment_voided::PaymentVoided;
pub use shipment_cancelled::ShipmentCancelled;
pub use shipment_created::ShipmentCreated;
pub use shipment_failed::ShipmentFailed;
