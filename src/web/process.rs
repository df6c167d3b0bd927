//! The front end's process: its settings, what its parts share, its start and its end.

use std::{collections::BTreeSet, time::Duration};

use orderflow_order::payment_kind::PaymentKind;
use orderflow_service::{
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay, Relayed},
    config::{BrokerConfig, ConfigError, DatabaseConfig, LogConfig, OperatorsConfig, Source, TraceConfig, WebConfig},
    listen::ListenError,
    preflight::{self, NotSetUp},
    process_identity, shutdown,
    store::Database,
    telemetry,
    trace::{Exporting, TraceError},
};
use tokio_util::sync::CancellationToken;

use crate::services::{self, roster};

use super::{
    ServeError, bind,
    client::Clients,
    ops::{self, Console, ConsoleError},
    serve,
};

/// Connections to the database: the committers, the relay, and reads, of which each takes well under a millisecond.
const DATABASE_CONNECTIONS: usize = 16;

/// How long the last events may take from the outbox to the broker at the end; they stay in the outbox otherwise.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// Why the front end did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Settings are missing or wrong.
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
    /// The database is there, but not set up for us.
    #[error(transparent)]
    NotSetUp(#[from] NotSetUp),
    /// Signals cannot be listened for.
    #[error("the process could not be set up: {0}")]
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

struct Settings {
    log: LogConfig,
    trace: TraceConfig,
    database: DatabaseConfig,
    broker: BrokerConfig,
    web: WebConfig,
    charged_by: PaymentKind,
    operators: OperatorsConfig,
}

impl Settings {
    fn read(source: &Source) -> Result<Self, ConfigError> {
        // Each is read before any is unwrapped, so that all problems are found.
        let log = LogConfig::read(source);
        let trace = TraceConfig::read(source);
        let database = DatabaseConfig::read(source);
        let broker = BrokerConfig::read(source);
        let web = WebConfig::read(source);
        let charged_by = PaymentKind::read(source);
        let operators = OperatorsConfig::read(source);
        let all = || {
            let (log, trace, database) = (log?, trace?, database?);
            let (broker, web, operators) = (broker?, web?, operators?);
            Some(Self { log, trace, database, broker, web, charged_by: charged_by?, operators })
        };
        source.finish(all())
    }
}

/// Runs the front end until SIGTERM or Ctrl-C. Has to be called on a multi-threaded runtime.
///
/// # Errors
/// See [`RunError`]. That database or broker are away is none: orders are refused with 503 without the database, and
/// accepted without the broker.
pub async fn run(source: &Source) -> Result<(), RunError> {
    let settings = Settings::read(source)?;
    telemetry::init(&settings.log);
    let exporting = Exporting::start(&settings.trace, "orderflow")?;
    let stop = shutdown::on_signal()?;
    let listener = bind(settings.web.listen)?;
    let operators = settings.web.ops_listen.bind()?;
    let program = format!("orderflow {}", process_identity::place());
    let database = Database::new(&settings.database, &program, DATABASE_CONNECTIONS)?;
    let connector = Connector::new(&settings.broker, "orderflow");
    // The publisher goes on until the relay is drained, after everything else has stopped.
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector.clone(), publishing.clone());
    let relayed = Relayed::Of(roster().clone(), BTreeSet::from(["order"]));
    let relay = Relay::start(relayed, database.clone(), publisher.clone(), stop.clone());
    let check = BrokerCheck::new(&connector)?;
    let clients = Clients::new(&settings.web.trusted_proxies);
    let secrets = &settings.web.links.token_secrets;
    let console = Console::new(&settings.operators, secrets, &settings.database, clients, stop.clone())?;
    let operators = tokio::spawn(ops::answer(ops::server(operators, database.clone(), console)?));
    let web = (settings.web, settings.charged_by);
    let serving = serve(listener, web, database.clone(), relay.clone(), publisher, check, stop.clone());
    tokio::spawn(services::keep_reading(database.clone(), stop.clone()));
    let migrations = roster().migrations();
    let outcome = tokio::select! {
        served = serving => served.map_err(RunError::from),
        Err(not_set_up) = preflight::database(&database, &migrations, &stop) => Err(not_set_up.into()),
    };
    stop.cancel();
    operators.abort();
    relay.drain(RELAY_DRAIN).await;
    publishing.cancel();
    // It blocks, for at most a second.
    drop(tokio::task::spawn_blocking(|| exporting.finish()).await);
    outcome
}
