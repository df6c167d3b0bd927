//! What all actors of a worker process share.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Connector, Publisher, Relay, SharedConnection},
    config::WorkerConfig,
    pipeline::failure_log::FailureLog,
    store::Database,
};

/// The settings, connections and tasks of one process. Cheap to clone.
#[derive(Clone)]
pub struct WorkerContext {
    /// Settings.
    pub config: Arc<WorkerConfig>,
    /// The database.
    pub database: Database,
    /// Makes connections for queues that need one of their own.
    pub connector: Connector,
    /// The connection on which all other queues are consumed, a channel for each.
    pub connection: SharedConnection,
    /// For retries and dead letters.
    pub publisher: Publisher,
    /// For the events that follow.
    pub relay: Relay,
    /// Where failed attempts are written down.
    pub failures: FailureLog,
    /// The multi-threaded runtime on which connections and transactions live.
    pub runtime: Handle,
    /// How many queues are consumed now; one that is paused because its provider is away is among them.
    pub consuming: Arc<AtomicUsize>,
    /// The one turn to work a queue one message at a time. A message that kills the process then takes no suspect of another queue
    /// with it, of which each death would count as one of its own.
    pub alone: Arc<Semaphore>,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}
