//! The context that all actors of a worker process share.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Connector, Publisher, Relay, SharedConnection},
    config::WorkerConfig,
    pipeline::{failure_log::FailureLog, retry_tiers::RetryTiers},
    store::Database,
};

/// The settings, connections and tasks of one process. Cheap to clone.
#[derive(Clone)]
pub struct WorkerContext {
    /// The settings.
    pub config: Arc<WorkerConfig>,
    /// The database.
    pub database: Database,
    /// Opens connections for queues that need their own.
    pub connector: Connector,
    /// The connection that all other queues share, with a channel for each.
    pub connection: SharedConnection,
    /// Publishes retries and dead letters.
    pub publisher: Publisher,
    /// The retry tiers, and which of them to pass over.
    pub retry_tiers: RetryTiers,
    /// Publishes the events that handlers record.
    pub relay: Relay,
    /// Records failed attempts.
    pub failures: FailureLog,
    /// The multi-threaded runtime on which connections and transactions live.
    pub runtime: Handle,
    /// How many queues are consumed now, including queues paused because a provider or the database is unavailable.
    pub consuming: Arc<AtomicUsize>,
    /// The single permit to work a queue one message at a time. Otherwise a message that kills the process would also
    /// take down a suspect of another queue, and that death would count against both.
    pub alone: Arc<Semaphore>,
    /// Cancelled when the process must stop.
    pub stop: CancellationToken,
}
