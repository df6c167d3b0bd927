//! Group commit: handles the items of many callers in one transaction.
//!
//! An order's cost in PostgreSQL is mostly that of its transaction. So callers queue; a committer takes all items that
//! wait, without waiting for more, commits them together and answers each caller. Queue, batch and time are bounded.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc, oneshot};

/// The bounds of a [`GroupCommit`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Batches that may be in flight at the same time.
    pub committers: usize,
    /// Items in one batch.
    pub batch: usize,
    /// Items that may wait; further ones are refused immediately.
    pub waiting: usize,
    /// How long a caller waits for its answer.
    pub deadline: Duration,
}

/// Why a caller got no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too many items wait already; this one was not started.
    #[error("too many requests are waiting to be committed")]
    Full,
    /// The deadline passed; the item may or may not be done.
    #[error("the commit did not finish in time")]
    Late,
    /// The committer ended without a result for this item; the item may or may not be done.
    #[error("the committer stopped before it returned a result")]
    Gone,
}

/// A queue in front of a function that handles many items in one transaction.
#[derive(Debug)]
pub struct GroupCommit<T, R> {
    queue: mpsc::Sender<Waiting<T, R>>,
    deadline: Duration,
}

#[derive(Debug)]
struct Waiting<T, R> {
    item: T,
    answer: oneshot::Sender<R>,
}

impl<T, R> Clone for GroupCommit<T, R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), deadline: self.deadline }
    }
}

impl<T: Send + 'static, R: Send + 'static> GroupCommit<T, R> {
    /// Starts the committers on the current tokio runtime. They end when the last clone of this handle is dropped.
    ///
    /// `commit` gets a batch and must return one result per item, in the same order.
    pub fn start<F, Fut>(limits: Limits, commit: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        let (queue, receiver) = mpsc::channel(limits.waiting);
        let receiver = Arc::new(Mutex::new(receiver));
        let commit = Arc::new(commit);
        for _ in 0..limits.committers {
            tokio::spawn(committer(Arc::clone(&receiver), Arc::clone(&commit), limits.batch));
        }
        Self { queue, deadline: limits.deadline }
    }

    /// Queues `item` and waits for its result.
    ///
    /// # Errors
    /// See [`NoAnswer`]. Only [`NoAnswer::Full`] guarantees that nothing was done.
    pub async fn submit(&self, item: T) -> Result<R, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { item, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NoAnswer::Full,
            mpsc::error::TrySendError::Closed(_) => NoAnswer::Gone,
        })?;
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(NoAnswer::Gone),
            Err(_) => Err(NoAnswer::Late),
        }
    }
}

async fn committer<T, R, F, Fut>(receiver: Arc<Mutex<mpsc::Receiver<Waiting<T, R>>>>, commit: Arc<F>, batch: usize)
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Vec<R>>,
{
    let mut waiting = Vec::with_capacity(batch);
    loop {
        // The lock is held only while receiving, so that another committer can take the next batch meanwhile.
        if receiver.lock().await.recv_many(&mut waiting, batch).await == 0 {
            return;
        }
        let (items, answers): (Vec<T>, Vec<_>) = waiting.drain(..).map(|one| (one.item, one.answer)).unzip();
        for (answer, result) in answers.into_iter().zip(commit(items).await) {
            // The caller may no longer wait; the item is committed even so.
            drop(answer.send(result));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as SyncMutex;

    use super::*;

    fn limits() -> Limits {
        Limits { committers: 1, batch: 100, waiting: 8, deadline: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn waiting_items_share_one_batch_and_each_caller_gets_its_own_result() {
        let sizes = Arc::new(SyncMutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let group = GroupCommit::start(limits(), move |items: Vec<u32>| {
            seen.lock().expect("no holder of this lock panics").push(items.len());
            async move { items.into_iter().map(|item| item * 10).collect() }
        });
        // On this single-threaded runtime the committer does not run before all eight wait.
        let answers = futures::future::join_all((0..8).map(|item| group.submit(item))).await;
        assert_eq!(answers, (0..8).map(|item| Ok(item * 10)).collect::<Vec<_>>());
        assert_eq!(*sizes.lock().expect("no holder of this lock panics"), [8]);
    }

    #[tokio::test]
    async fn full_queue_refuses_immediately() {
        let group = GroupCommit::start(limits(), |items: Vec<u32>| async move { items });
        let answers = futures::future::join_all((0..9).map(|item| group.submit(item))).await;
        assert_eq!(answers.iter().filter(|answer| **answer == Err(NoAnswer::Full)).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_deadline() {
        let group: GroupCommit<u32, u32> = GroupCommit::start(limits(), |_| std::future::pending());
        assert_eq!(group.submit(1).await, Err(NoAnswer::Late));
    }
}
