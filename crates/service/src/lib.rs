//! What a service of Orderflow stands on: settings, connections to RabbitMQ and PostgreSQL, the event log with its outbox
//! and inbox, metrics, traces, HTTP servers. It knows no order and no service.

mod backoff;
pub mod broker;
pub mod config;
pub mod fault;
pub mod group_commit;
pub mod http;
pub mod listen;
pub mod mail_address;
pub mod metrics;
pub mod periodic;
pub mod preflight;
pub mod process_identity;
pub mod shutdown;
pub mod store;
mod subscription;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use backoff::Backoff;
pub use subscription::Subscription;
