//! RabbitMQ's objects, and what operators do with them. Connections and publishing are in `orderflow_service::broker`.

mod dead_letters;
mod depths;
mod limits;
mod management;
mod narrowing;
mod policies;
mod questions;
mod setup;
mod topology;
mod users;

pub use dead_letters::{DeadLetter, DeadLetters, Found};
pub use depths::QueueDepth;
pub use limits::ConnectionLimit;
pub use management::{Management, ManagementError};
pub use policies::Altered;
pub use questions::{ClientConnection, Node, Overview, Who};
pub use setup::Applied;
pub use topology::Topology;
pub use users::{Rights, TopicRights, UserRights, user_of};
