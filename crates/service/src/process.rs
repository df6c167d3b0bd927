//! The worker process: what all its actors share, its start and its end.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use actix_rt::{Arbiter, System};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    Subscription,
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay},
    config::{BrokerConfig, DatabaseConfig, TraceConfig, WorkerConfig},
    consumers::Consumer,
    health::{self, Health},
    line::Line,
    listen::ListenError,
    pipeline::{failure_log::FailureLog, pace::Reporter, reconciler::Reconciler, shell::Process},
    preflight::{self, NotSetUp},
    process_identity, shutdown,
    store::Database,
    trace::{Exporting, TraceError},
};

/// Connections to the database, for transactions of all queues together and the relay. So many queues rarely all commit in
/// the same moment; who finds none free waits.
const DATABASE_CONNECTIONS: usize = 24;

/// How long the last events may take from the outbox to the broker at the end; they stay in the outbox otherwise.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// How long the last failed attempts may take to be written down at the end.
const FAILURES_DRAIN: Duration = Duration::from_secs(2);

/// How long the process may take to take its pace back at the end; it would be out of date in a minute anyway.
const PACE_DRAIN: Duration = Duration::from_secs(2);

/// Why handlers could not be made: a setting, which the error names.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// What a worker process is set up with, whatever its services are.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Traces.
    pub trace: TraceConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// RabbitMQ.
    pub broker: BrokerConfig,
    /// The process itself.
    pub worker: WorkerConfig,
}

/// What a worker process does.
#[derive(Debug)]
pub struct Work {
    /// A consumer for each queue.
    pub consumers: Vec<Consumer>,
    /// The lines to the providers that their handlers call.
    pub lines: Vec<Arc<Line>>,
}

/// Why a worker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system's resources.
    #[error("the process could not be set up")]
    Io(#[from] io::Error),
    /// `WORKER_LISTEN`.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// `DATABASE_URL`.
    #[error("DATABASE_URL cannot be used")]
    Database(#[from] diesel::ConnectionError),
    /// `AMQP_URL`.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// `AMQP_URL`.
    #[error(transparent)]
    Check(#[from] NotReady),
    /// What the handlers are made from.
    #[error(transparent)]
    Handlers(SetupError),
    /// Database or broker are there, but not set up for us.
    #[error(transparent)]
    NotSetUp(#[from] NotSetUp),
}

/// Runs a worker until SIGTERM or Ctrl-C: consumes these queues by what `make` returns for them, answers health checks, and
/// drains at the end.
///
/// Two kinds of runtime, on purpose: actors live on actix arbiters, one thread each; connections and transactions live
/// on one multi-threaded tokio runtime, which outlives them all.
///
/// # Errors
/// See [`RunError`]. That database or broker are away is none: the worker waits for them.
pub fn run(
    config: &ProcessConfig,
    queues: &[Subscription],
    make: impl FnOnce(&Database) -> Result<Work, SetupError>,
) -> Result<(), RunError> {
    let exporting = Exporting::start(&config.trace, &service(queues))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let system = System::new();
    let listener = config.worker.listen.bind()?;
    let Assembled { process, work, check, publishing } = runtime.block_on(assemble(config, make))?;
    tracing::info!(address = %listener.local_addr()?, queues = queues.len(), "worker started");
    let server = {
        let health = Health { process: process.clone(), check: check.clone(), lines: work.lines, queues: queues.len() };
        system.block_on(async { health::server(listener, health) })?
    };
    let handle = server.handle();
    let outcome = system.block_on(async {
        actix_rt::spawn(server);
        let outcome = set_up_then_consume(work.consumers, &process, &check).await;
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

/// What a trace viewer calls this process: its service, where it works for one alone.
fn service(queues: &[Subscription]) -> String {
    let services: BTreeSet<_> = queues.iter().map(|queue| queue.service()).collect();
    match (services.first(), services.len()) {
        (Some(only), 1) => format!("orderflow-{only}"),
        _ => "orderflow-worker".to_owned(),
    }
}

struct Assembled {
    process: Process,
    work: Work,
    check: BrokerCheck,
    /// Stops the publisher: last, because the relay needs it to drain.
    publishing: CancellationToken,
}

async fn assemble(
    config: &ProcessConfig,
    make: impl FnOnce(&Database) -> Result<Work, SetupError>,
) -> Result<Assembled, RunError> {
    let stop = shutdown::on_signal()?;
    let program = format!("orderflow-worker {}", process_identity::place());
    let database = Database::new(&config.database, &program, DATABASE_CONNECTIONS)?;
    // Before anything connects: what is wrong here is a setting.
    let work = make(&database).map_err(RunError::Handlers)?;
    let connector = Connector::new(&config.broker, "orderflow-worker");
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector.clone(), publishing.clone());
    let relay = Relay::start(database.clone(), publisher.clone(), stop.clone());
    let check = BrokerCheck::new(&connector)?;
    let failures = FailureLog::start(database.clone());
    let process = Process {
        config: Arc::new(config.worker.clone()),
        database,
        connector,
        publisher,
        relay,
        failures,
        runtime: tokio::runtime::Handle::current(),
        consuming: Arc::default(),
        stop,
    };
    Ok(Assembled { process, work, check, publishing })
}

async fn set_up_then_consume(consumers: Vec<Consumer>, process: &Process, check: &BrokerCheck) -> Result<(), RunError> {
    let (its, its_check) = (process.clone(), check.clone());
    let preflight = process.runtime.spawn(async move {
        preflight::database(&its.database, &its.stop).await?;
        preflight::broker(&its_check, &its.config.retry_delays, &its.stop).await
    });
    // A panic there would be a fault of ours; consuming then fails with its own message.
    if let Ok(checked) = preflight.await {
        checked?;
    }
    process.runtime.spawn(Reconciler::new(process, check).run());
    let queues = consumers.iter().map(|consumer| consumer.subscription.queue());
    let pace = process.runtime.spawn(Reporter::new(process, queues).run());
    let running: Vec<_> = consumers.into_iter().map(|consumer| begin(consumer, process)).collect();
    join_all(running).await;
    drop(process.runtime.spawn(tokio::time::timeout(PACE_DRAIN, pace)).await);
    Ok(())
}

/// Starts one queue's actor on a thread of its own, so that no queue's counting waits for another's.
async fn begin(consumer: Consumer, process: &Process) {
    let arbiter = Arbiter::new();
    // Connections belong to the runtime that opens them, so the actor's shell runs there.
    let shell = process.runtime.spawn(consumer.start(process.clone(), arbiter.handle()));
    if let Err(error) = shell.await {
        tracing::error!(%error, "a queue's shell ended by a fault; its queue is not consumed any more");
    }
    arbiter.stop();
}
