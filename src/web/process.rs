//! The front end's process: its settings, the resources that its parts share, its start and its end.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use actix_web::dev::Server;
use futures::FutureExt as _;
use orderflow_order::payment_kind::PaymentKind;
use orderflow_service::{
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay, Relayed},
    config::{
        BrokerConfig, ConfigError, DatabaseConfig, FrontEndConfig, LogConfig, OperatorsConfig, Source, TraceConfig,
        WebConfig,
    },
    housekeeping::{self, Forget},
    listen::ListenError,
    preflight::{self, NotSetUp},
    process_identity, shutdown,
    store::Database,
    telemetry,
    trace::{Exporting, TraceError},
};
use tokio_util::sync::CancellationToken;

use crate::{
    services::{self, roster},
    shares::Shares,
    store::discarded,
};

use super::{
    ServeError, bind,
    client::Clients,
    last_audit,
    ops::{self, Console, ConsoleError},
    serve,
};

/// How long a stopping process still publishes events. The rest stay in the outbox for another relay.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// Why the front end did not start, or stopped without a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Settings are missing or invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `DATABASE_URL`.
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(#[from] diesel::ConnectionError),
    /// `AMQP_URL`.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// `AMQP_URL`.
    #[error(transparent)]
    Check(#[from] NotReady),
    /// The database is reachable but not set up for this version.
    #[error(transparent)]
    NotSetUp(#[from] NotSetUp),
    /// The signal handlers cannot be installed.
    #[error("cannot set up the process: {0}")]
    Io(#[from] std::io::Error),
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// `AMQP_ADMIN_URL`.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// `OPS_LISTEN`.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The HTTP server.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A part of the front end that a process can run alone, with fewer rights and secrets than both need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The shop and its API, at LISTEN; OPS_LISTEN serves only /metrics and /healthz
    Shop,
    /// The operators' console and API, at OPS_LISTEN
    Console,
}

struct Settings {
    log: LogConfig,
    trace: TraceConfig,
    database: DatabaseConfig,
    front_end: FrontEndConfig,
    shop: Option<ShopSettings>,
    operators: Option<OperatorsConfig>,
}

struct ShopSettings {
    broker: BrokerConfig,
    web: WebConfig,
    charged_by: PaymentKind,
}

impl Settings {
    /// Reads the settings of this part, or of both parts if `part` is `None`.
    fn read(source: &Source, part: Option<Part>) -> Result<Self, ConfigError> {
        // All are read before any is unwrapped, so that one run reports all problems.
        let log = LogConfig::read(source);
        let trace = TraceConfig::read(source);
        let database = DatabaseConfig::read(source);
        let front_end = FrontEndConfig::read(source);
        let shop = (part != Some(Part::Console)).then(|| ShopSettings::read(source));
        let operators = (part != Some(Part::Shop)).then(|| OperatorsConfig::read(source));
        let all = || {
            let (shop, operators) = (all_or_none(shop)?, all_or_none(operators)?);
            Some(Self { log: log?, trace: trace?, database: database?, front_end: front_end?, shop, operators })
        };
        source.finish(all())
    }
}

/// Returns `None` if a requested value could not be read.
fn all_or_none<T>(wanted: Option<Option<T>>) -> Option<Option<T>> {
    wanted.map_or(Some(None), |read| read.map(Some))
}

impl ShopSettings {
    fn read(source: &Source) -> Option<Self> {
        let (broker, web) = (BrokerConfig::read(source), WebConfig::read(source));
        let charged_by = PaymentKind::read(source);
        Some(Self { broker: broker?, web: web?, charged_by: charged_by? })
    }
}

/// Reads the settings of this part, to observe which ones it reads: see [`Source::names_read`].
pub fn read_settings(source: &Source, part: Part) {
    drop(Settings::read(source, Some(part)));
}

/// Runs the front end, or this part of it, until SIGTERM or Ctrl-C. Must be called on a multi-threaded runtime.
///
/// # Errors
/// See [`RunError`]. An unavailable database or broker is not an error: without the database, orders are refused with
/// 503; without the broker, they are accepted.
pub async fn run(source: &Source, part: Option<Part>) -> Result<(), RunError> {
    let Settings { log, trace, database, front_end, shop, operators } = Settings::read(source, part)?;
    telemetry::init(&log);
    let exporting = Exporting::start(&trace, "orderflow")?;
    let stop = shutdown::on_signal()?;
    // Bind before anything else starts, so that a port in use is the only thing reported.
    let listener = shop.as_ref().map(|shop| bind(shop.web.listen)).transpose()?;
    let inside = front_end.ops_listen.bind()?;
    let program = format!("orderflow {}", process_identity::place());
    let shares = Shares::of(&database, part);
    let connections = shares.all();
    let pool = Database::by_key(&database, &program, shares.pool)?;
    let console = operators.map(|operators| {
        let (clients, secrets) = (Clients::new(&front_end.trusted_proxies), &front_end.links.token_secrets);
        Console::new(&operators, secrets, (&database, shares.console), clients, stop.clone())
    });
    let console = console.transpose()?;
    if console.is_some() {
        tokio::spawn(last_audit::run(pool.clone(), stop.clone()));
        let forget_discarded: Forget = |connection, limit| discarded::forget_old(connection, limit).boxed();
        tokio::spawn(housekeeping::run(pool.clone(), forget_discarded, stop.clone()));
    }
    let inside = ops::server(inside, front_end.certificate.as_ref(), pool.clone(), console, stop.clone())?;
    tokio::spawn(services::keep_reading(pool.clone(), stop.clone()));
    let outcome = match listener.zip(shop) {
        Some((listener, shop)) => run_shop(listener, shop, (pool, connections), inside, &stop).await,
        None => run_console((pool, connections), inside, &stop).await,
    };
    // `finish` blocks, for at most a second.
    drop(tokio::task::spawn_blocking(|| exporting.finish()).await);
    outcome
}

/// Runs the shop, and with it the server for operators and Prometheus.
async fn run_shop(
    listener: TcpListener,
    ShopSettings { broker, web, charged_by }: ShopSettings,
    (database, connections): (Database, usize),
    inside: Server,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let connector = Connector::new(&broker, "orderflow");
    let check = BrokerCheck::new(&connector)?;
    // The publisher outlives everything else: the relay needs it to drain.
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector, publishing.clone());
    let relayed = Relayed::Of(roster().clone(), BTreeSet::from(["order"]));
    let relay = Relay::start(relayed, database.clone(), publisher.clone(), stop.clone());
    let inside = tokio::spawn(ops::answer(inside));
    let serving = serve(listener, (web, charged_by), database.clone(), relay.clone(), publisher, check, stop.clone());
    let outcome = while_set_up(serving, (&database, connections), stop).await;
    stop.cancel();
    inside.abort();
    relay.drain(RELAY_DRAIN).await;
    publishing.cancel();
    outcome
}

/// Runs the server for operators alone.
async fn run_console(
    (database, connections): (Database, usize),
    inside: Server,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let (handle, stopped) = (inside.handle(), stop.clone());
    let stopping = tokio::spawn(async move {
        stopped.cancelled().await;
        handle.stop(true).await;
    });
    let outcome =
        while_set_up(async { inside.await.map_err(ServeError::Failed) }, (&database, connections), stop).await;
    stop.cancel();
    stopping.abort();
    outcome
}

/// Runs the future until it ends, or until the database turns out not to be set up.
async fn while_set_up(
    running: impl Future<Output = Result<(), ServeError>>,
    (database, connections): (&Database, usize),
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let migrations = roster().migrations();
    tokio::select! {
        ended = running => Ok(ended?),
        Err(not_set_up) = preflight::database(database, connections, &migrations, stop) => Err(not_set_up.into()),
    }
}
