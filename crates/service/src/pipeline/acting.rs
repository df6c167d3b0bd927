//! The middle step: calls the outside world for one event.

use std::sync::Arc;

use orderflow_events::Envelope;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    failure::Failure,
    fault::{self, CrashPoint},
    handler::Handler,
    pipeline::{queue_context::QueueContext, retry_transaction::Pause},
    trace::{Kind, Span},
};

/// How long a message may be in hand while its provider is unavailable. RabbitMQ closes a channel that holds a message
/// for 30 minutes (its default), and a call may take another five.
const LONGEST_HOLD: Duration = Duration::from_secs(20 * 60);

/// The number of probes with one message before another is used, since the provider may fail because of this message.
const TRIES: u32 = 8;

/// How a queue is worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As many concurrently as permitted. When the provider or the database becomes unavailable, the actor ends.
    Working,
    /// One message at a time, because some were returned repeatedly: see [`crate::pipeline::isolation`].
    Alone,
    /// The provider or the database is unavailable: one message at a time is held and retried until they recover.
    HalfOpen,
}

impl Mode {
    /// Returns how to work this handler's queue now, judged by its provider and the database.
    pub fn of<H: Handler>(handler: &H, pause: &Pause) -> Self {
        let is_unavailable = handler.guard().is_some_and(|guard| guard.is_unavailable());
        if is_unavailable || pause.is_on() { Self::HalfOpen } else { Self::Working }
    }
}

/// How long and how many times one message has been tried as probe.
#[derive(Debug, Clone, Copy)]
pub struct ProbeBudget {
    since: Instant,
    tries: u32,
}

impl ProbeBudget {
    /// Returns the budget of a message that becomes the probe now.
    pub fn now() -> Self {
        Self { since: Instant::now(), tries: 0 }
    }

    /// Counts a try. Returns `None` if another message should be tried next.
    pub fn tried_again(self) -> Option<Self> {
        let tries = self.tries.saturating_add(1);
        (tries < TRIES && self.since.elapsed() < LONGEST_HOLD).then_some(Self { tries, ..self })
    }

    fn deadline(self) -> Instant {
        self.since + LONGEST_HOLD
    }
}

/// The outcome of acting.
#[derive(Debug)]
pub enum Acted<F> {
    /// The effect, ready to be recorded.
    Done(F),
    /// The attempt failed.
    Failed(Failure),
    /// The provider is unavailable; no attempt is used up.
    ProviderUnavailable,
}

/// Acts on one event. In mode [`Mode::HalfOpen`] it first waits for a permit to probe; cancelling `leave` ends that
/// wait.
pub async fn act<H: Handler>(
    queue: Arc<QueueContext<H>>,
    event: Arc<Envelope<H::Event>>,
    input: H::Input,
    probing: Option<ProbeBudget>,
    leave: CancellationToken,
) -> Acted<H::Effect> {
    let guard = queue.handler.guard().filter(|_| queue.handler.calls(&input)).cloned();
    let permit = match (&guard, probing) {
        (Some(guard), Some(budget)) => tokio::select! {
            biased;
            permit = guard.probe_permit() => Some(permit),
            () = leave.cancelled() => return Acted::ProviderUnavailable,
            () = tokio::time::sleep_until(budget.deadline()) => return Acted::ProviderUnavailable,
        },
        _ => None,
    };
    let mut call = guard.as_ref().map(|guard| {
        let mut call = Span::after(Kind::Client, format!("call {}", guard.name()), event.traceparent.as_deref());
        call.provider(guard.name());
        call
    });
    let outcome = once(&queue.handler, event, input).await;
    if let (Some(call), Err(failure)) = (&mut call, &outcome) {
        call.failed(&failure.to_string());
    }
    drop(call);
    fault::crash_here(CrashPoint::AfterAct);
    match outcome {
        Ok(effect) => Acted::Done(effect),
        Err(Failure::ProviderUnavailable { why, .. }) if guard.is_some_and(|guard| guard.is_unavailable()) => {
            if let Some(permit) = permit {
                permit.failed(&why);
            }
            Acted::ProviderUnavailable
        }
        Err(failure) => Acted::Failed(failure),
    }
}

/// Acts in its own task, so that a panic costs only this event an attempt.
async fn once<H: Handler>(
    handler: &Arc<H>,
    event: Arc<Envelope<H::Event>>,
    input: H::Input,
) -> Result<H::Effect, Failure> {
    let handler = Arc::clone(handler);
    let acting = tokio::spawn(async move { handler.act(&event, input).await }.in_current_span());
    acting.await.unwrap_or_else(|_| Err(Failure::retry("the handler panicked while it acted")))
}
