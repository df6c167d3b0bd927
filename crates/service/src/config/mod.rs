//! Settings: read from the environment once, checked before anything starts, one struct per concern.
//!
//! Every struct's file names its variables. [`ALL`] is the whole list, from which `orderflow config` prints.

mod address;
mod amqp;
mod broker;
mod database;
mod log;
mod operators;
mod plaintext;
mod postgres;
mod providers;
mod setting;
mod smtp;
mod trace;
mod web;
mod worker;

pub use address::is_loopback;
pub use amqp::BrokerNode;
pub use broker::{AdminConfig, BrokerConfig, RetryDelays, Users};
pub use database::DatabaseConfig;
pub use log::{LogConfig, LogFormat};
pub use operators::{OperatorToken, OperatorsConfig, Role, TRACE_ID};
pub use postgres::set_by;
pub use providers::{
    CarrierChoice, CarrierConfig, LineConfig, MailConfig, MailTransport, PaymentChoice, PaymentConfig, PaymentKind,
    StripeConfig,
};
pub use setting::{ConfigError, Setting, Source};
pub use smtp::{SmtpEncryption, SmtpServerConfig};
pub use trace::TraceConfig;
pub use web::{Admission, LinkConfig, WebConfig};
pub use worker::{WorkerConfig, reconcile_after};

/// Notes every setting that is given and cannot work, whether or not this program needs it: a shop's programs are commonly
/// started with one list of settings, and each says at its start what is wrong with that.
pub fn check(source: &Source) {
    source.only_given(|source| {
        drop((LogConfig::read(source), TraceConfig::read(source)));
        drop((DatabaseConfig::read(source), BrokerConfig::read(source), AdminConfig::read(source)));
        drop((WebConfig::read(source), OperatorsConfig::read(source), WorkerConfig::read(source)));
        drop((PaymentConfig::read(source), CarrierConfig::read(source), MailConfig::read(source)));
    });
}

/// Refuses a choice without the setting that it needs, such as `MAIL=smtp` without `SMTP_URL`, in a list that [`check`] has
/// read. Only workers need both, and only they and `orderflow config` refuse it: other programs share the choice and are not
/// given the secret.
pub fn check_choices(source: &Source) {
    if !source.only_given(is_without_workers) {
        source.refuse_unmet();
    }
}

/// Whether this list is the front end's own, or that of the operator's commands: complete for these, and without `MAIL`,
/// which every worker needs.
fn is_without_workers(source: &Source) -> bool {
    let (database, broker) = (DatabaseConfig::read(source), BrokerConfig::read(source));
    let for_front_end = broker.is_some() && WebConfig::read(source).is_some();
    let for_commands = broker.is_none() && AdminConfig::read(source).is_some();
    source.given(&providers::MAIL).is_none() && database.is_some() && (for_front_end || for_commands)
}

/// Every setting there is, in the order in which a person would set them.
pub const ALL: &[&Setting] = &[
    &database::DATABASE_URL,
    &broker::AMQP_URL,
    &broker::AMQP_ADMIN_URL,
    &broker::RABBITMQ_MANAGEMENT_URL,
    &broker::AMQP_WEB_PASSWORD,
    &broker::AMQP_WORKER_PASSWORD,
    &broker::AMQP_VIEWER_PASSWORD,
    &broker::AMQP_INSPECTOR_PASSWORD,
    &broker::RETRY_DELAYS,
    &plaintext::PLAINTEXT_HOSTS,
    &web::LISTEN,
    &web::OPS_LISTEN,
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
    &providers::PAYMENT_PROVIDER,
    &providers::PAYMENT_TIMEOUT,
    &providers::PAYMENT_CONCURRENCY,
    &providers::STRIPE_SECRET_KEY,
    &providers::STRIPE_API_BASE,
    &providers::SIMULATOR_DATABASE_URL,
    &providers::CARRIER,
    &providers::CARRIER_TIMEOUT,
    &providers::CARRIER_CONCURRENCY,
    &providers::MAIL,
    &providers::SMTP_URL,
    &providers::MAIL_FROM,
    &providers::MAIL_TIMEOUT,
    &providers::MAIL_CONCURRENCY,
    &providers::MAIL_LIMIT,
    &log::RUST_LOG,
    &log::LOG_FORMAT,
    &trace::OTEL_EXPORTER_OTLP_ENDPOINT,
    &trace::OTEL_TRACES_SAMPLER_ARG,
];
