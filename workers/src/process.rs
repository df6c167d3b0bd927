//! The worker process: what all its actors share, its start and its end.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use actix_rt::{Arbiter, System};
use futures::future::join_all;
use orderflow_order::{store::moved::Announcer, token::OrderLinks};
use orderflow_service::{
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Relay},
    listen::ListenError,
    preflight::{self, NotSetUp},
    process_identity, shutdown,
    store::Database,
    trace::{Exporting, TraceError},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Registry, Settings,
    failure_log::FailureLog,
    health::{self, Health},
    pace::Reporter,
    providers::{ProviderSetupError, Providers},
    reconciler::Reconciler,
    registry::{Services, Start},
    services::payment::Intents,
    shell::Process,
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
    /// A provider's settings.
    #[error(transparent)]
    Providers(#[from] ProviderSetupError),
    /// Database or broker are there, but not set up for us.
    #[error(transparent)]
    NotSetUp(#[from] NotSetUp),
}

/// Runs a worker until SIGTERM or Ctrl-C: consumes the registry's queues, answers health checks, and drains at the end.
///
/// Two kinds of runtime, on purpose: actors live on actix arbiters, one thread each; connections and transactions live
/// on one multi-threaded tokio runtime, which outlives them all.
///
/// # Errors
/// See [`RunError`]. That database or broker are away is none: the worker waits for them.
pub fn run(registry: Registry, settings: Settings) -> Result<(), RunError> {
    let exporting = Exporting::start(&settings.trace, &service(&registry))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let system = System::new();
    let listener = settings.worker.listen.bind()?;
    let (process, services, check, publishing) = runtime.block_on(assemble(&settings))?;
    tracing::info!(address = %listener.local_addr()?, queues = registry.entries.len(), "worker started");
    let server = {
        let (providers, queues) = (services.providers.clone(), registry.entries.len());
        let health = Health { process: process.clone(), check: check.clone(), providers, queues };
        system.block_on(async { health::server(listener, health) })?
    };
    let handle = server.handle();
    let outcome = system.block_on(async {
        actix_rt::spawn(server);
        let outcome = set_up_then_consume(registry, &process, &services, &check).await;
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
fn service(registry: &Registry) -> String {
    let services: BTreeSet<_> = registry.entries.iter().map(|(subscription, _)| subscription.service()).collect();
    match (services.first(), services.len()) {
        (Some(only), 1) => format!("orderflow-{only}"),
        _ => "orderflow-worker".to_owned(),
    }
}

async fn assemble(settings: &Settings) -> Result<(Process, Services, BrokerCheck, CancellationToken), RunError> {
    let stop = shutdown::on_signal()?;
    let program = format!("orderflow-worker {}", process_identity::place());
    let database = Database::new(&settings.database, &program, DATABASE_CONNECTIONS)?;
    // Before anything connects: what is wrong here is a setting.
    let intents = Arc::new(Intents::start(database.clone(), settings.payment.line.time_out));
    let providers = Providers::new(&settings.payment, &settings.carrier, &settings.mail, &database, intents)?;
    let connector = Connector::new(&settings.broker, "orderflow-worker");
    // The publisher goes on until the relay is drained, after everything else has stopped.
    let publishing = CancellationToken::new();
    let publisher = Publisher::start(connector.clone(), publishing.clone());
    let relay = Relay::start(database.clone(), publisher.clone(), stop.clone());
    let services = Services {
        providers,
        links: OrderLinks::new(&settings.links),
        mail_limit: settings.mail.limit,
        announcer: Announcer::start(database.clone()),
    };
    let check = BrokerCheck::new(&connector)?;
    let failures = FailureLog::start(database.clone());
    let process = Process {
        config: Arc::new(settings.worker.clone()),
        database,
        connector,
        publisher,
        relay,
        failures,
        runtime: tokio::runtime::Handle::current(),
        consuming: Arc::default(),
        stop,
    };
    Ok((process, services, check, publishing))
}

async fn set_up_then_consume(
    registry: Registry,
    process: &Process,
    services: &Services,
    check: &BrokerCheck,
) -> Result<(), RunError> {
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
    let queues = registry.entries.iter().map(|(subscription, _)| subscription.queue());
    let pace = process.runtime.spawn(Reporter::new(process, queues).run());
    let running: Vec<_> = registry.entries.into_iter().map(|(_, start)| begin(start, process, services)).collect();
    join_all(running).await;
    drop(process.runtime.spawn(tokio::time::timeout(PACE_DRAIN, pace)).await);
    Ok(())
}

/// Starts one queue's actor on a thread of its own, so that no queue's counting waits for another's.
async fn begin(start: Start, process: &Process, services: &Services) {
    let arbiter = Arbiter::new();
    // Connections belong to the runtime that opens them, so the actor's shell runs there.
    let shell = process.runtime.spawn(start(process.clone(), services, arbiter.handle()));
    if let Err(error) = shell.await {
        tracing::error!(%error, "a queue's shell ended by a fault; its queue is not consumed any more");
    }
    arbiter.stop();
}
