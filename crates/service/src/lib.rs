//! What a service of Orderflow stands on: settings, connections to RabbitMQ and PostgreSQL, the event log with its outbox
//! and inbox, the pipeline from a delivery to its settlement, metrics, traces, HTTP servers. It knows no order and no
//! service.

mod backoff;
mod breaker;
pub mod broker;
pub mod config;
mod consumers;
mod failure;
pub mod fault;
pub mod group_commit;
pub mod handler;
mod health;
pub mod http;
pub mod line;
pub mod listen;
pub mod mail_address;
pub mod metrics;
pub mod periodic;
mod pipeline;
pub mod preflight;
pub mod process;
pub mod process_identity;
pub mod provider_error;
pub mod selection;
pub mod shutdown;
pub mod store;
mod subscription;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use backoff::Backoff;
pub use consumers::Consumer;
pub use failure::Failure;
pub use subscription::Subscription;
