//! Records failed attempts in the database, in the background. By then each message is safe in its retry tier or
//! dead-letter queue, and no message ever waits for this. Records that cannot be written in time are dropped: RabbitMQ
//! stays the source of truth.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Backoff,
    split::Parts,
    store::{
        ANSWER_WITHIN, Database, StoreError,
        failures::{self, FailedAttempt},
    },
    telemetry,
};

/// The most records that may wait: about ten seconds of a whole system failing at full load.
const WAITING: usize = 10_000;

/// Records per transaction.
const BATCH: usize = 500;

/// How long a batch waits for an unavailable database.
const PATIENCE: Duration = Duration::from_secs(60);

/// A handle to the writing task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FailureLog {
    records: mpsc::Sender<FailedAttempt>,
    dropped: Arc<AtomicU64>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl FailureLog {
    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let (records, waiting) = mpsc::channel(WAITING);
        let log =
            Self { records, dropped: Arc::default(), closing: CancellationToken::new(), tasks: TaskTracker::new() };
        let writer = Writer { database, dropped: Arc::clone(&log.dropped), closing: log.closing.clone() };
        log.tasks.spawn(writer.run(waiting));
        log
    }

    /// Hands over a record. Never waits: if the channel is full, the record is dropped and counted.
    pub fn record(&self, failed: FailedAttempt) {
        if self.records.try_send(failed).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the records handed over so far, for at most `deadline`. Drops records that arrive later.
    pub async fn drain(&self, deadline: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!("some failed attempts could not be recorded in the database; RabbitMQ has their messages");
        }
    }
}

struct Writer {
    database: Database,
    dropped: Arc<AtomicU64>,
    closing: CancellationToken,
}

impl Writer {
    async fn run(self, mut waiting: mpsc::Receiver<FailedAttempt>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                _ = waiting.recv_many(&mut batch, BATCH) => {}
                // Records already in the channel are still received.
                () = self.closing.cancelled(), if !waiting.is_closed() => waiting.close(),
            }
            if batch.is_empty() && waiting.is_closed() {
                return;
            }
            self.write(std::mem::take(&mut batch)).await;
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(
                    records = dropped,
                    "failed attempts were not recorded in the database; RabbitMQ has their messages"
                );
            }
        }
    }

    /// Writes a batch as soon as the database is reachable. If the database refuses its data, the batch is split into
    /// ever smaller parts.
    async fn write(&self, batch: Vec<FailedAttempt>) {
        let given_up = Instant::now() + PATIENCE;
        let mut backoff = Backoff::default();
        let mut parts = Parts::of(batch);
        while let Some(part) = parts.take() {
            match self.remember(&part).await {
                Ok(()) => {}
                Err(error) if error.is_unavailable() && Instant::now() < given_up => {
                    backoff.wait().await;
                    parts.again(part);
                }
                Err(error) if error.is_unavailable() || part.len() == 1 => {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "failed attempts could not be recorded in the database"
                    );
                    self.dropped.fetch_add(u64::try_from(part.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
                Err(_) => parts.split(part),
            }
        }
    }

    async fn remember(&self, batch: &[FailedAttempt]) -> Result<(), StoreError> {
        self.database.run(ANSWER_WITHIN, async |connection| failures::remember(connection, batch).await).await
    }
}
