//! The front end's process: its settings, what its parts share, its start and its end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ServeError, bind, operators, serve};
use crate::{
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay},
    config::{BrokerConfig, ConfigError, DatabaseConfig, LogConfig, Source, WebConfig},
    listen::ListenError,
    preflight::{self, NotSetUp},
    shutdown,
    store::Database,
    telemetry,
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
    /// `OPS_LISTEN`.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server for operators, which has no reason to end before the process does.
    #[error("the server for operators ended by itself")]
    OperatorsEnded,
    /// The HTTP server.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

struct Settings {
    log: LogConfig,
    database: DatabaseConfig,
    broker: BrokerConfig,
    web: WebConfig,
}

impl Settings {
    fn read(source: &Source) -> Result<Self, ConfigError> {
        // Each is read before any is unwrapped, so that all problems are found.
        let log = LogConfig::read(source);
        let database = DatabaseConfig::read(source);
        let broker = BrokerConfig::read(source);
        let web = WebConfig::read(source);
        source.finish((|| Some(Self { log: log?, database: database?, broker: broker?, web: web? }))())
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
    let stop = shutdown::on_signal()?;
    let listener = bind(settings.web.listen)?;
    let operators = settings.web.ops_listen.bind()?;
    let program = format!("orderflow {}", Connector::place());
    let database = Database::new(&settings.database, &program, DATABASE_CONNECTIONS)?;
    let connector = Connector::new(&settings.broker, "orderflow")?;
    // The publisher goes on until the relay is drained, after everything else has stopped.
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector.clone(), publishing.clone());
    let relay = Relay::start(database.clone(), publisher.clone(), stop.clone());
    let check = BrokerCheck::new(&connector)?;
    let operators = operators::server(operators, database.clone())?;
    let serving = serve(listener, settings.web, database.clone(), relay.clone(), publisher, check, stop.clone());
    let outcome = tokio::select! {
        served = serving => served.map_err(RunError::from),
        ended = operators => Err(ended.map_or_else(RunError::Io, |()| RunError::OperatorsEnded)),
        Err(not_set_up) = preflight::database(&database, &stop) => Err(not_set_up.into()),
    };
    stop.cancel();
    relay.drain(RELAY_DRAIN).await;
    publishing.cancel();
    outcome
}
