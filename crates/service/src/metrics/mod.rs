//! The metrics of a process, for Prometheus. docs/METRICS.md lists them.
//!
//! A process has one set of metrics, as it has one log: events are counted where they happen. Nothing here blocks.
//! Every label has few values, all defined by us: no order, no customer and no path that a client made up.

mod audit;
mod buckets;
mod database;
mod http;
mod live;
mod operators;
mod orders;
mod outbox;
mod process;
mod providers;
mod queues;
mod services;

use std::sync::LazyLock;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

pub use self::{
    audit::AuditMetrics,
    database::DatabaseMetrics,
    http::{CutOff, HttpMetrics},
    live::LiveMetrics,
    operators::OperatorMetrics,
    orders::OrderMetrics,
    outbox::OutboxMetrics,
    providers::{Answer, ProviderMetrics},
    queues::{InHand, Outcome, QueueMetrics, Tally, WhyDead},
    services::ServiceMetrics,
};
use self::{process::ProcessCollector, queues::QueuesMetrics};
use crate::version;

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The last recorded audit.
    pub audit: AuditMetrics,
    /// HTTP requests.
    pub http: HttpMetrics,
    /// WebSockets of customers.
    pub live: LiveMetrics,
    /// Refused operator tokens.
    pub operators: OperatorMetrics,
    /// Accepted, refused and settled orders.
    pub orders: OrderMetrics,
    /// Publishing from the outbox.
    pub outbox: OutboxMetrics,
    /// Calls to providers: payment, carrier, mail.
    pub providers: ProviderMetrics,
    /// Registered services.
    pub services: ServiceMetrics,
    /// The database connections.
    pub database: DatabaseMetrics,
    queues: QueuesMetrics,
}

/// Returns the metrics of this process.
#[must_use]
pub fn get() -> &'static Metrics {
    &METRICS
}

/// Returns all metrics, in the text format of OpenMetrics.
#[must_use]
pub fn text() -> String {
    let mut text = String::with_capacity(64 * 1024);
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &METRICS.registry);
    text
}

/// Returns the handles of one queue. Getting them is expensive, using them is cheap: get them once.
#[must_use]
pub fn of_queue(queue: &str) -> QueueMetrics {
    METRICS.queues.of(queue)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::default();
        let build = Info::new(Build { version: version::VERSION });
        registry.register("orderflow_build", "The running version", build);
        let started = Gauge::<i64>::default();
        started.set(chrono::Utc::now().timestamp());
        let help = "When the process started measuring, as a Unix time";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        registry.register_collector(Box::new(ProcessCollector));
        Self {
            audit: AuditMetrics::register(&mut registry),
            http: HttpMetrics::register(&mut registry),
            orders: OrderMetrics::register(&mut registry),
            live: LiveMetrics::register(&mut registry),
            operators: OperatorMetrics::register(&mut registry),
            outbox: OutboxMetrics::register(&mut registry),
            providers: ProviderMetrics::register(&mut registry),
            services: ServiceMetrics::register(&mut registry),
            database: DatabaseMetrics::register(&mut registry),
            queues: QueuesMetrics::register(&mut registry),
            registry,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, time::Duration};

    use super::*;
    use crate::store::outbox::Depths;

    /// Returns a separate set in which every metric has a sample.
    fn with_everything() -> Metrics {
        let metrics = Metrics::new();
        let second = Duration::from_secs(1);
        metrics.audit.ended(chrono::Utc::now(), 0);
        metrics.http.answered("GET", "/orders/{id}", 200, second);
        metrics.http.cut_off(CutOff::Unread);
        metrics.orders.accepted(false);
        metrics.orders.accepted(true);
        metrics.orders.rejected("overloaded");
        metrics.orders.settled("shipped", second);
        metrics.orders.admitting(true);
        metrics.live.watching(1);
        metrics.live.sent("entry");
        metrics.live.closed("final");
        metrics.live.lag(second);
        metrics.live.polled(second);
        metrics.operators.refused(true);
        metrics.outbox.depths(&Depths::default());
        metrics.outbox.relayed(1);
        metrics.outbox.published("confirmed", second);
        metrics.providers.available("payment", true);
        metrics.providers.called("payment", Answer::Unavailable, second);
        metrics.services.registered(["loyalty"].into_iter());
        metrics.database.pool(2, 1, 16, 0);
        let queue = metrics.queues.of("payment.order-created");
        queue.retried(second);
        queue.dead_lettered(WhyDead::Exhausted);
        metrics
    }

    fn written(metrics: &Metrics) -> String {
        let mut text = String::new();
        text::encode(&mut text, &metrics.registry).expect("a string takes everything");
        text
    }

    /// Returns the names of a sample's labels, without a bucket's bound.
    fn labels(sample: &str) -> String {
        let within =
            sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let names = within.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name);
        names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Returns the table of docs/METRICS.md.
    fn table(text: &str) -> String {
        let mut table = String::new();
        for family in text.split("# HELP ").skip(1) {
            let (name, rest) = family.split_once(' ').expect("a name");
            let (help, rest) = rest.split_once('\n').expect("a help text");
            let kind = rest.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a type");
            let sample = rest.lines().find(|line| !line.starts_with('#')).expect("a sample");
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let (labels, help) = (labels(sample), help.trim_end_matches('.'));
            writeln!(table, "| `{name}{suffix}` | {kind} | {labels} | {help} |").expect("a string takes everything");
        }
        table
    }

    #[test]
    fn every_metric_is_documented() {
        let table = table(&written(&with_everything()));
        let document = include_str!("../../../../docs/METRICS.md");
        assert!(document.contains(&table), "docs/METRICS.md must have these rows:\n{table}");
    }
}
