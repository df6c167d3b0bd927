//! Supervises each actor: opens a channel, starts the actor, replaces it when it ends, and drains it at shutdown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, Addr, AsyncContext as _};
use actix_rt::ArbiterHandle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Backoff, Subscription,
    handler::Handler,
    metrics::{self, QueueMetrics},
    pipeline::{
        acting::Mode,
        actor::{Drain, Ended, QueueActor, Work},
        consuming::{self, Consuming},
        queue_context::QueueContext,
        retry_transaction::Pause,
        settle::Settle,
        worker_context::WorkerContext,
    },
    telemetry,
};

/// How long an actor may take to finish the work that it has begun.
///
/// With the steps that follow, a process ends within 32 s: pace 2, relay 5, failures 2, runtime 2, traces 1.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Keeps one queue consumed until the process stops. Reopens the channel without limit, with a new actor each time.
/// Also replaces an actor that panics, which actix's own supervisor does not do.
pub async fn supervise<H: Handler>(
    process: WorkerContext,
    subscription: Subscription,
    handler: Arc<H>,
    arbiter: ArbiterHandle,
) {
    let queue = subscription.queue();
    let measured = metrics::of_queue(&queue);
    let mut backoff = Backoff::default();
    let mut was_away = false;
    let mut consumed = None;
    let pause = Pause::default();
    // Whether messages were returned repeatedly. Remembered across connections, because such a message may be what
    // breaks the connection.
    let mut alone = false;
    // Whether the queue needs a connection of its own: the broker closed the shared one while this queue or another was
    // starting to be consumed, or allows no more channels on it.
    let mut apart = false;
    while !process.stop.is_cancelled() {
        let mode = match Mode::of(&*handler, &pause) {
            Mode::Working if alone => Mode::Alone,
            mode => mode,
        };
        let turn = tokio::select! {
            turn = turn(&process, mode) => turn,
            () = process.stop.cancelled() => break,
        };
        match Consuming::open(&process, subscription, mode, apart).await {
            Ok(consuming) => {
                match mode {
                    Mode::Working => tracing::info!(queue, "consuming"),
                    Mode::Alone => tracing::info!(queue, "consuming one message at a time"),
                    Mode::HalfOpen if pause.is_on() => {
                        tracing::info!(queue, "paused: trying the database with one message at a time");
                    }
                    Mode::HalfOpen => tracing::info!(queue, "paused: trying the provider with one message at a time"),
                }
                (backoff, was_away, apart) = (Backoff::default(), false, false);
                let counted = consumed.take().unwrap_or_else(|| Consumed::count(&process.consuming, &measured));
                // More processes do not help a paused queue, and its measurements do not show its pace.
                measured.slots(match mode {
                    Mode::Working => process.config.prefetch,
                    Mode::Alone => 1,
                    Mode::HalfOpen => 0,
                });
                let enough = CancellationToken::new();
                let end = consume(&process, &handler, &arbiter, &consuming, (mode, &pause), enough.clone()).await;
                if enough.is_cancelled() {
                    alone = mode == Mode::Working;
                }
                consuming.close().await;
                match end {
                    // A queue that changes its mode still counts as consumed.
                    End::ModeOver => {
                        consumed = Some(counted);
                        continue;
                    }
                    End::Stopped => {}
                    End::Lost(why) => {
                        tracing::warn!(queue, why, "the queue is no longer consumed; reconnecting")
                    }
                }
            }
            Err(error) => {
                consumed = None;
                let shares = !apart && mode != Mode::Alone;
                apart |= consuming::closed_all(&error) || error.is_out_of_channels();
                // A shared connection logs its own failure once.
                let is_told = was_away || (shares && error.is_full());
                if !is_told {
                    tracing::warn!(
                        queue,
                        error = telemetry::chain(&error),
                        hint = consuming::hint(&error),
                        "the queue cannot be consumed; trying again"
                    );
                }
                was_away = true;
            }
        }
        drop(turn);
        tokio::select! {
            () = backoff.wait() => {}
            () = process.stop.cancelled() => {}
        }
    }
}

/// In mode [`Mode::Alone`], waits until no other queue of the process is worked one message at a time.
async fn turn(process: &WorkerContext, mode: Mode) -> Option<OwnedSemaphorePermit> {
    match mode {
        Mode::Alone => Arc::clone(&process.alone).acquire_owned().await.ok(),
        Mode::Working | Mode::HalfOpen => None,
    }
}

/// Counts a queue as consumed until it is dropped.
struct Consumed(Arc<AtomicUsize>, QueueMetrics);

impl Consumed {
    fn count(consuming: &Arc<AtomicUsize>, measured: &QueueMetrics) -> Self {
        consuming.fetch_add(1, Ordering::Relaxed);
        measured.consumed(true);
        Self(Arc::clone(consuming), measured.clone())
    }
}

impl Drop for Consumed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.consumed(false);
        self.1.slots(0);
    }
}

/// Why a consumer ended.
enum End {
    /// The process is stopping.
    Stopped,
    /// The queue must be worked in another mode: the provider or the database became unavailable or recovered, or the
    /// worker must start or stop handling one message at a time.
    ModeOver,
    /// Any other reason.
    Lost(String),
}

/// Runs one actor until it ends, and returns the reason.
async fn consume<H: Handler>(
    process: &WorkerContext,
    handler: &Arc<H>,
    arbiter: &ArbiterHandle,
    consuming: &Consuming,
    (mode, pause): (Mode, &Pause),
    enough: CancellationToken,
) -> End {
    let context = QueueContext {
        handler: Arc::clone(handler),
        database: process.database.clone(),
        relay: process.relay.clone(),
        subscription: consuming.subscription,
        settle: Settle::new(
            consuming.subscription.queue(),
            process.publisher.clone(),
            process.retry_tiers.clone(),
            process.failures.clone(),
        ),
        pause: pause.clone(),
        stop: process.stop.clone(),
    };
    let (queue, batch_size) = (Arc::new(context), process.config.batch_size);
    let work = Work { queue, runtime: process.runtime.clone(), batch_size, mode, enough: enough.clone() };
    let (tell, mut ended) = oneshot::channel();
    let deliveries = consuming.deliveries();
    let actor = QueueActor::start_in_arbiter(arbiter, move |context| {
        context.add_stream(deliveries);
        QueueActor::new(work, tell)
    });
    tokio::select! {
        ended = &mut ended => return match ended {
            Ok(Ended::Lost(why)) => End::Lost(why),
            Ok(Ended::Drained) => End::ModeOver,
            Err(_) => End::Lost("the actor panicked".to_owned()),
        },
        call = mode_over(&**handler, pause, mode) => {
            // Calls under way have their own time-out.
            let draining = drain(consuming, &actor, &mut ended, DRAIN_TIMEOUT + call);
            tokio::select! {
                () = draining => return End::ModeOver,
                () = process.stop.cancelled() => {}
            }
        }
        () = enough.cancelled() => {
            // Events in hand may be waiting for the provider, which has its own time-out.
            let limit = DRAIN_TIMEOUT + handler.guard().map_or(Duration::ZERO, |guard| guard.time_out());
            tokio::select! {
                finished = tokio::time::timeout(limit, finish(consuming, &mut ended)) => match finished {
                    Ok(end) => return end,
                    Err(_) => {
                        drain(consuming, &actor, &mut ended, DRAIN_TIMEOUT).await;
                        return End::ModeOver;
                    }
                },
                () = process.stop.cancelled() => {}
            }
        }
        () = process.stop.cancelled() => {}
    }
    drain(consuming, &actor, &mut ended, DRAIN_TIMEOUT).await;
    End::Stopped
}

/// Stops new deliveries, then waits until the actor has finished what is in hand.
async fn finish(consuming: &Consuming, ended: &mut oneshot::Receiver<Ended>) -> End {
    consuming.cancel().await;
    match ended.await {
        Ok(Ended::Drained) => End::ModeOver,
        Ok(Ended::Lost(why)) => End::Lost(why),
        Err(_) => End::Lost("the actor panicked".to_owned()),
    }
}

/// Waits until the queue must be worked in the other mode. Returns how long a call to its provider may take.
async fn mode_over<H: Handler>(handler: &H, pause: &Pause, mode: Mode) -> Duration {
    let guard = handler.guard();
    let provider_is_unavailable = async |away| match guard {
        Some(guard) => guard.until_unavailable_is(away).await,
        None if away => std::future::pending().await,
        None => {}
    };
    match mode {
        Mode::Working | Mode::Alone => tokio::select! {
            () = provider_is_unavailable(true) => {}
            () = pause.until(true) => {}
        },
        // Either may become unavailable again while this waits for the other.
        Mode::HalfOpen => {
            while Mode::of(handler, pause) == Mode::HalfOpen {
                provider_is_unavailable(false).await;
                pause.until(false).await;
            }
        }
    }
    guard.map_or(Duration::ZERO, |guard| guard.time_out())
}

/// Stops new deliveries and waits up to `limit` for work in progress. The rest returns to the broker.
async fn drain<H: Handler>(
    consuming: &Consuming,
    actor: &Addr<QueueActor<H>>,
    ended: &mut oneshot::Receiver<Ended>,
    limit: Duration,
) {
    let draining = async {
        // An error of either means that there is nothing left to drain.
        let _ = actor.send(Drain).await;
        consuming.cancel().await;
        drop(ended.await);
    };
    if tokio::time::timeout(limit, draining).await.is_err() {
        tracing::warn!(queue = %consuming.subscription, "work in progress did not finish in time; its messages return to the queue");
    }
}
