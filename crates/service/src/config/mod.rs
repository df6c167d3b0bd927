//! Settings: read from the environment once and checked before anything starts; one struct per concern.
//!
//! Every struct's file defines its variables. `orderflow config` prints [`SHARED`], those of the services,
//! [`DIAGNOSTICS`] and [`SET_UP`].

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

/// Settings under one heading.
#[derive(Debug)]
pub struct Group {
    /// The heading in docs/SETTINGS.md.
    pub title: &'static str,
    /// The settings, in the order in which an operator would set them.
    pub settings: &'static [&'static Setting],
}

/// The settings that do not belong to one service, grouped as operators look for them.
pub const SHARED: &[Group] = &[
    Group {
        title: "PostgreSQL",
        settings: &[
            &database::DATABASE_URL,
            &database::DATABASE_DIRECT_URL,
            &database::DATABASE_PREPARED,
            &database::DATABASE_POOL,
        ],
    },
    Group {
        title: "RabbitMQ",
        settings: &[
            &broker::AMQP_URL,
            &broker::AMQP_ADMIN_URL,
            &broker::RABBITMQ_MANAGEMENT_URL,
            &broker::RETRY_DELAYS,
        ],
    },
    Group {
        title: "Encryption",
        settings: &[&plaintext::PLAINTEXT_HOSTS, &own_ca::TLS_CA, &web::TLS_CERTIFICATE, &web::TLS_KEY],
    },
    Group {
        title: "Shop",
        settings: &[
            &web::LISTEN,
            &web::PUBLIC_URL,
            &web::TOKEN_SECRET,
            &web::TRUSTED_PROXIES,
            &web::RATE_LIMIT,
            &web::ADMISSION_MAX_OUTBOX_AGE,
            &web::ADMISSION_MAX_OUTBOX_ROWS,
            &web::LIVE_WATCHERS,
        ],
    },
    Group {
        title: "Console",
        settings: &[
            &web::OPS_LISTEN,
            &operators::OPERATOR_TOKENS,
            &operators::RABBITMQ_UI_URL,
            &operators::TRACE_VIEWER_URL,
        ],
    },
    Group {
        title: "Workers",
        settings: &[&worker::WORKER_LISTEN, &worker::BATCH_SIZE, &worker::PREFETCH, &worker::RECONCILE_AFTER],
    },
];

/// The settings for logging and traces.
pub const DIAGNOSTICS: Group = Group {
    title: "Log and traces",
    settings: &[&log::RUST_LOG, &log::LOG_FORMAT, &trace::OTEL_EXPORTER_OTLP_ENDPOINT, &trace::OTEL_TRACES_SAMPLER_ARG],
};

/// The settings of users and roles that set-up creates. Each service adds a password for its user and one for its role.
pub const SET_UP: Group = Group {
    title: "Set-up: users and roles",
    settings: &[
        &broker::AMQP_WEB_PASSWORD,
        &broker::AMQP_WORKER_PASSWORD,
        &broker::AMQP_OPS_PASSWORD,
        &broker::AMQP_VIEWER_PASSWORD,
        &broker::AMQP_INSPECTOR_PASSWORD,
        &database::DATABASE_ROLE_PREFIX,
    ],
};
