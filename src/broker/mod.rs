//! RabbitMQ: what exists there, how we connect, how messages leave.

mod connection;
mod management;
mod message;
pub mod names;
mod publisher;
mod questions;
mod readiness;
mod relay;
mod subscription;
mod topology;

pub use connection::{Backoff, BrokerError, Connector};
pub use management::{Management, ManagementError};
pub use message::Message;
pub use publisher::{PublishError, Publisher};
pub use questions::{Node, Overview};
pub use readiness::{BrokerCheck, Look, NotReady};
pub use relay::Relay;
pub use subscription::Subscription;
pub use topology::Topology;
