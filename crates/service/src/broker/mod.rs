//! Connections to RabbitMQ, and publishing to it.

mod connection;
mod full;
pub mod headers;
mod message;
pub mod names;
mod publisher;
mod publishing;
mod readiness;
mod refusals;
mod relay;
mod resend;
mod shared_connection;
mod vhost;

pub use connection::{BrokerError, Connector, VERSION_PROPERTY};
pub use full::Full;
pub use message::{Message, TooLarge};
pub use publisher::{PublishError, Publisher};
pub use readiness::{BrokerCheck, NotReady, QueueState};
pub use relay::{Relay, Relayed, RelayedBatch};
pub use resend::{Resent, resend};
pub use shared_connection::SharedConnection;
pub use vhost::NoVhost;
