//! RabbitMQ: what exists there, how we connect, how messages leave.

mod connection;
mod dead_letters;
mod depths;
pub mod headers;
mod management;
mod message;
pub mod names;
mod policies;
mod publisher;
mod questions;
mod readiness;
mod relay;
mod resend;
mod setup;
mod topology;
mod vhost;

pub use connection::{BrokerError, Connector};
pub use dead_letters::{DeadLetter, DeadLetters, Found};
pub use depths::QueueDepth;
pub use management::{Management, ManagementError};
pub use message::Message;
pub use policies::Altered;
pub use publisher::{PublishError, Publisher};
pub use questions::{Node, Overview, Rights, Who};
pub use readiness::{BrokerCheck, Look, NotReady};
pub use relay::Relay;
pub use resend::{Resent, resend};
pub use setup::Applied;
pub use topology::Topology;
pub use vhost::NoVhost;
