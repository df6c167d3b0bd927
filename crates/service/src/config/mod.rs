//! Settings: read from the environment once and checked before anything starts; one struct per concern.
//!
//! Every struct's file defines its variables. `orderflow config` prints [`SHARED`], those of the services, and
//! [`DIAGNOSTICS`].

pub mod address;
mod amqp;
mod broker;
mod database;
mod guard;
mod log;
mod operators;
mod own_ca;
mod plaintext;
mod postgres;
mod postgres_tls;
pub mod setting;
mod trace;
mod web;
mod worker;

pub use address::is_loopback;
pub use amqp::BrokerNode;
pub use broker::{AdminConfig, BrokerConfig, RetryDelays, Users};
pub use database::{DATABASE_ROLE_PREFIX, DatabaseConfig};
pub use guard::GuardConfig;
pub use log::{LogConfig, LogFormat};
pub use operators::{OperatorToken, OperatorsConfig, Role, TRACE_ID};
pub use own_ca::OwnCa;
pub use plaintext::PlaintextHosts;
pub use postgres::{PostgresServer, set_by};
pub use postgres_tls::{PostgresTls, SslMode};
pub use setting::{ConfigError, Setting, Source};
pub use trace::TraceConfig;
pub use web::{Admission, FrontEndConfig, LinkConfig, WebConfig};
pub use worker::{WorkerConfig, reconcile_after};

/// Records a problem for every setting that is given and cannot work, whether or not this program needs it.
/// The programs of a shop usually start with one shared list of settings, and each reports at its start what is wrong
/// with it. `services` reads the settings of the services.
pub fn check(source: &Source, services: impl FnOnce(&Source)) {
    source.only_given(|source| {
        drop((LogConfig::read(source), TraceConfig::read(source)));
        drop((DatabaseConfig::read(source), BrokerConfig::read(source), AdminConfig::read(source)));
        drop((WebConfig::read(source), OperatorsConfig::read(source), WorkerConfig::read(source), Users::read(source)));
        services(source);
    });
}

/// All settings except those of the services, in the order in which an operator would set them.
pub const SHARED: &[&Setting] = &[
    &database::DATABASE_URL,
    &database::DATABASE_DIRECT_URL,
    &database::DATABASE_PREPARED,
    &database::DATABASE_POOL,
    &database::DATABASE_ROLE_PREFIX,
    &broker::AMQP_URL,
    &broker::AMQP_ADMIN_URL,
    &broker::RABBITMQ_MANAGEMENT_URL,
    &broker::AMQP_WEB_PASSWORD,
    &broker::AMQP_WORKER_PASSWORD,
    &broker::AMQP_OPS_PASSWORD,
    &broker::AMQP_VIEWER_PASSWORD,
    &broker::AMQP_INSPECTOR_PASSWORD,
    &broker::RETRY_DELAYS,
    &plaintext::PLAINTEXT_HOSTS,
    &own_ca::TLS_CA,
    &web::LISTEN,
    &web::OPS_LISTEN,
    &web::TLS_CERTIFICATE,
    &web::TLS_KEY,
    &operators::OPERATOR_TOKENS,
    &operators::RABBITMQ_UI_URL,
    &operators::TRACE_VIEWER_URL,
    &web::PUBLIC_URL,
    &web::TOKEN_SECRET,
    &web::RATE_LIMIT,
    &web::TRUSTED_PROXIES,
    &web::ADMISSION_MAX_OUTBOX_AGE,
    &web::ADMISSION_MAX_OUTBOX_ROWS,
    &web::LIVE_WATCHERS,
    &worker::WORKER_LISTEN,
    &worker::BATCH_SIZE,
    &worker::PREFETCH,
    &worker::RECONCILE_AFTER,
];

/// The settings for logging and traces: every program has them, and operators set them last.
pub const DIAGNOSTICS: &[&Setting] =
    &[&log::RUST_LOG, &log::LOG_FORMAT, &trace::OTEL_EXPORTER_OTLP_ENDPOINT, &trace::OTEL_TRACES_SAMPLER_ARG];
