//! The worker process: its settings, its start, and its shutdown.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use actix_rt::{Arbiter, ArbiterHandle, System};
use futures::{FutureExt as _, future::join_all};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Roster, Service, Subscription,
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay, Relayed, SharedConnection},
    config::{BrokerConfig, ConfigError, DatabaseConfig, LogConfig, Source, TraceConfig, WorkerConfig},
    consumers::Consumer,
    health::{self, Health},
    housekeeping::{self, Forget},
    listen::ListenError,
    pipeline::{
        failure_log::FailureLog, pace::Reporter, reconciler::Reconciler, retry_tiers::RetryTiers,
        worker_context::WorkerContext,
    },
    preflight::{self, NotSetUp},
    process_identity,
    service::{SetUp, SetupError, Work},
    shutdown,
    store::{Database, failures, migrations::MigrationSet},
    trace::{Exporting, TraceError},
};

/// How long publishing the last events may take at shutdown. Later ones stay in the outbox.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// How long storing the last failed attempts may take at shutdown.
const FAILURES_DRAIN: Duration = Duration::from_secs(2);

/// How long deleting the process's pace may take at shutdown. The row would be outdated in a minute anyway.
const PACE_DRAIN: Duration = Duration::from_secs(2);

/// All settings of a worker process.
pub struct Settings {
    /// Logging.
    pub log: LogConfig,
    trace: TraceConfig,
    database: DatabaseConfig,
    broker: BrokerConfig,
    worker: WorkerConfig,
    /// The queues to consume.
    queues: Vec<Subscription>,
    set_ups: Vec<SetUp>,
    /// The migrations of these services.
    migrations: Vec<MigrationSet>,
    roster: Roster,
}

impl Settings {
    /// Reads the settings of a process that consumes these queues. Settings that only other services need may be
    /// absent, but every setting that is present must be valid.
    ///
    /// # Errors
    /// Returns all invalid settings, together.
    pub fn read(source: &Source, roster: &Roster, queues: Vec<Subscription>) -> Result<Self, ConfigError> {
        roster.check_settings(source);
        // Everything is read before anything is unwrapped, so that all problems are reported.
        let log = LogConfig::read(source);
        let trace = TraceConfig::read(source);
        let database = DatabaseConfig::read(source);
        let broker = BrokerConfig::read(source);
        let worker = WorkerConfig::read(source);
        let chosen = |service: &&Service| queues.iter().any(|queue| queue.service() == service.name);
        let services = || roster.services().filter(chosen);
        let set_ups: Vec<_> = services().map(|service| service.read(source)).collect();
        let migrations = services().filter_map(|service| service.migrations).collect();
        source.finish((|| {
            Some(Self {
                log: log?,
                trace: trace?,
                database: database?,
                broker: broker?,
                worker: worker?,
                queues,
                set_ups: set_ups.into_iter().collect::<Option<_>>()?,
                migrations,
                roster: roster.clone(),
            })
        })())
    }
}

/// Why a worker did not start, or stopped without a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A resource of the operating system is not available.
    #[error("the process could not be set up")]
    Io(#[from] io::Error),
    /// `WORKER_LISTEN` cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// `DATABASE_URL` cannot be used.
    #[error("DATABASE_URL cannot be used")]
    Database(#[from] diesel::ConnectionError),
    /// `AMQP_URL` cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// `AMQP_URL` cannot be used by the health check.
    #[error(transparent)]
    Check(#[from] NotReady),
    /// The handlers' dependencies cannot be set up.
    #[error(transparent)]
    Handlers(SetupError),
    /// The database or the broker is reachable but not set up.
    #[error(transparent)]
    NotSetUp(#[from] NotSetUp),
}

/// Runs a worker until SIGTERM or Ctrl-C: consumes its queues, answers health checks, and drains at shutdown.
///
/// It uses two kinds of runtime on purpose. Actors live on one actix arbiter, a thread that all of them share.
/// Connections and transactions live on one multi-threaded tokio runtime, which outlives the actors.
///
/// # Errors
/// See [`RunError`]. An unavailable database or broker is not an error: the worker waits for it.
pub fn run(settings: Settings) -> Result<(), RunError> {
    let exporting = Exporting::start(&settings.trace, &service(&settings.queues))?;
    let queues = settings.queues.len();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let system = System::new();
    let listener = settings.worker.listen.bind()?;
    let Assembled { process, work, migrations, roster, check, publishing } = runtime.block_on(assemble(settings))?;
    tracing::info!(address = %listener.local_addr()?, queues, "worker started");
    let server = {
        let health = Health { process: process.clone(), check: check.clone(), guards: work.guards, queues };
        system.block_on(async { health::server(listener, health) })?
    };
    let handle = server.handle();
    let outcome = system.block_on(async {
        actix_rt::spawn(server);
        let outcome = set_up_then_consume(work.consumers, migrations, roster, &process, &check).await;
        process.stop.cancel();
        outcome
    });
    runtime.block_on(async {
        process.relay.drain(RELAY_DRAIN).await;
        process.failures.drain(FAILURES_DRAIN).await;
        publishing.cancel();
    });
    system.block_on(handle.stop(false));
    runtime.shutdown_timeout(Duration::from_secs(2));
    exporting.finish();
    tracing::info!("worker stopped");
    outcome
}

/// Returns the process's name in traces: that of its service if it runs only one.
fn service(queues: &[Subscription]) -> String {
    let services: BTreeSet<_> = queues.iter().map(|queue| queue.service()).collect();
    match (services.first(), services.len()) {
        (Some(only), 1) => format!("orderflow-{only}"),
        _ => "orderflow-worker".to_owned(),
    }
}

struct Assembled {
    process: WorkerContext,
    work: Work,
    migrations: Vec<MigrationSet>,
    roster: Roster,
    check: BrokerCheck,
    /// Stops the publisher. It must stop last, because the relay needs it to drain.
    publishing: CancellationToken,
}

async fn assemble(settings: Settings) -> Result<Assembled, RunError> {
    let stop = shutdown::on_signal()?;
    let program = format!("{} {}", process_identity::program(), process_identity::place());
    let pool = settings.database.worker_pool(settings.queues.len());
    let database = Database::by_key(&settings.database, &program, pool)?;
    // Before anything connects, since an error here means an invalid setting.
    let work = set_up(settings.set_ups, &database, &settings.queues).map_err(RunError::Handlers)?;
    let connector = Connector::new(&settings.broker, process_identity::program());
    let connection = SharedConnection::new(connector.clone(), "consuming");
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector.clone(), publishing.clone());
    let relayed = Relayed::by(&settings.roster, &settings.queues);
    let relay = Relay::start(relayed, database.clone(), publisher.clone(), stop.clone());
    let check = BrokerCheck::new(&connector)?;
    let failures = FailureLog::start(database.clone());
    let process = WorkerContext {
        retry_tiers: RetryTiers::new(settings.worker.retry_delays.clone()),
        config: Arc::new(settings.worker),
        database,
        connector,
        connection,
        publisher,
        relay,
        failures,
        runtime: tokio::runtime::Handle::current(),
        consuming: Arc::default(),
        alone: Arc::new(Semaphore::new(1)),
        stop,
    };
    Ok(Assembled { process, work, migrations: settings.migrations, roster: settings.roster, check, publishing })
}

fn set_up(set_ups: Vec<SetUp>, database: &Database, queues: &[Subscription]) -> Result<Work, SetupError> {
    let mut all = Work::default();
    for set_up in set_ups {
        let Work { consumers, guards } = set_up(database, queues)?;
        all.consumers.extend(consumers);
        all.guards.extend(guards);
    }
    Ok(all)
}

async fn set_up_then_consume(
    consumers: Vec<Consumer>,
    migrations: Vec<MigrationSet>,
    roster: Roster,
    process: &WorkerContext,
    check: &BrokerCheck,
) -> Result<(), RunError> {
    let (its, its_check) = (process.clone(), check.clone());
    let preflight = process.runtime.spawn(async move {
        preflight::database(&its.database, its.database.most_connections(), &migrations, &its.stop).await?;
        preflight::broker(&its_check, &its.config.retry_delays, &its.stop).await
    });
    // A panic there would be a bug. Consuming then fails with its own message.
    if let Ok(checked) = preflight.await {
        checked?;
    }
    let consumed: Vec<_> = consumers.iter().map(|consumer| consumer.subscription).collect();
    process.runtime.spawn(Reconciler::new(process, check, roster, &consumed).run());
    let queues = consumed.iter().map(|subscription| subscription.queue());
    let forget_attempts: Forget = |connection, limit| failures::forget_old(connection, limit).boxed();
    process.runtime.spawn(housekeeping::run(process.database.clone(), forget_attempts, process.stop.clone()));
    let pace = process.runtime.spawn(Reporter::new(process, queues).run());
    let arbiter = Arbiter::new();
    let running: Vec<_> = consumers.into_iter().map(|consumer| begin(consumer, process, arbiter.handle())).collect();
    join_all(running).await;
    arbiter.stop();
    drop(process.runtime.spawn(tokio::time::timeout(PACE_DRAIN, pace)).await);
    Ok(())
}

/// Starts one queue's actor. All actors of a process share a thread: they only decode messages and keep count, and a
/// thread for each would have to be woken for each message.
async fn begin(consumer: Consumer, process: &WorkerContext, arbiter: ArbiterHandle) {
    // Connections belong to the runtime that opens them, so the actor's supervisor runs there.
    let supervisor = process.runtime.spawn(consumer.start(process.clone(), arbiter));
    if let Err(error) = supervisor.await {
        tracing::error!(%error, "a queue's supervisor panicked; its queue is no longer consumed");
    }
}
