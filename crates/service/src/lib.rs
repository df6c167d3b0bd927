//! The foundation of an Orderflow service: settings, connections to RabbitMQ and PostgreSQL, the event log with its
//! outbox and inbox, the pipeline from delivery to settlement, metrics, traces and HTTP servers. It knows neither
//! orders nor any particular service.

pub mod audit;
mod backoff;
mod breaker;
pub mod broker;
pub mod call_guard;
pub mod config;
mod consumers;
mod failure;
pub mod fault;
pub mod group_commit;
pub mod handler;
mod health;
pub mod housekeeping;
pub mod http;
mod interned;
pub mod listen;
pub mod metrics;
pub mod periodic;
mod pipeline;
pub mod preflight;
pub mod process;
pub mod process_identity;
pub mod program;
pub mod provider_error;
mod roster;
pub mod selection;
pub mod service;
pub mod shutdown;
pub mod split;
pub mod store;
mod subscription;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod version;

pub use orderflow_events as events;

pub use backoff::Backoff;
pub use failure::Failure;
pub use roster::{Roster, RosterError, check_name};
pub use service::Service;
pub use subscription::Subscription;
