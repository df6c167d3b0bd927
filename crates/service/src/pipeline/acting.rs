//! The step in the middle: reaching outside for one event.

use std::sync::Arc;

use orderflow_events::Envelope;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    failure::Failure,
    fault::{self, CrashPoint},
    handler::Handler,
    pipeline::{persist::Pause, queue_context::QueueContext},
    trace::{Kind, Step},
};

/// How long a message may be in hand while its provider is away. RabbitMQ closes the channel of whoever holds one for 30
/// minutes (its default), and a call may take another five.
const LONGEST_HOLD: Duration = Duration::from_secs(20 * 60);

/// So many tries with one message, and then with another: it may be this one that the provider chokes on.
const TRIES: u32 = 8;

/// How a queue is worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As many at once as may be. When the provider or the database becomes unavailable the actor ends.
    Working,
    /// One message at a time, because some came back often: see [`crate::pipeline::isolation`].
    Alone,
    /// The provider or the database is unavailable: one message is held and tried again, when it is its turn, until
    /// there is an answer.
    Probing,
}

impl Mode {
    /// How this handler's queue is to be worked now, as far as its provider and the database say.
    pub fn of<H: Handler>(handler: &H, pause: &Pause) -> Self {
        let is_away = handler.line().is_some_and(|line| line.is_away());
        if is_away || pause.is_on() { Self::Probing } else { Self::Working }
    }
}

/// How long and how often one message was tried while probing.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    since: Instant,
    tries: u32,
}

impl Held {
    /// From now on.
    pub fn now() -> Self {
        Self { since: Instant::now(), tries: 0 }
    }

    /// After another try, or `None` when it is another message's turn.
    pub fn tried_again(self) -> Option<Self> {
        let tries = self.tries.saturating_add(1);
        (tries < TRIES && self.since.elapsed() < LONGEST_HOLD).then_some(Self { tries, ..self })
    }

    fn deadline(self) -> Instant {
        self.since + LONGEST_HOLD
    }
}

/// What came of acting.
#[derive(Debug)]
pub enum Acted<F> {
    /// This, to be recorded.
    Done(F),
    /// It failed.
    Failed(Failure),
    /// The provider is being left alone; no attempt is used up.
    Away,
}

/// Acts on one event. While probing it first waits for its turn, which `leave` interrupts.
pub async fn act<H: Handler>(
    queue: Arc<QueueContext<H>>,
    event: Arc<Envelope<H::Event>>,
    input: H::Input,
    probing: Option<Held>,
    leave: CancellationToken,
) -> Acted<H::Effect> {
    let line = queue.handler.line().filter(|_| queue.handler.calls(&input)).cloned();
    let turn = match (&line, probing) {
        (Some(line), Some(held)) => tokio::select! {
            biased;
            turn = line.turn() => Some(turn),
            () = leave.cancelled() => return Acted::Away,
            () = tokio::time::sleep_until(held.deadline()) => return Acted::Away,
        },
        _ => None,
    };
    let mut call = line.as_ref().map(|line| {
        let mut call = Step::after(Kind::Client, format!("call {}", line.name()), event.traceparent.as_deref());
        call.provider(line.name());
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
        Err(Failure::Away { why, .. }) if line.is_some_and(|line| line.is_away()) => {
            if let Some(turn) = turn {
                turn.failed(&why);
            }
            Acted::Away
        }
        Err(failure) => Acted::Failed(failure),
    }
}

/// Acts in a task of its own, so that a panic costs this event an attempt and nothing else.
async fn once<H: Handler>(
    handler: &Arc<H>,
    event: Arc<Envelope<H::Event>>,
    input: H::Input,
) -> Result<H::Effect, Failure> {
    let handler = Arc::clone(handler);
    let acting = tokio::spawn(async move { handler.act(&event, input).await }.in_current_span());
    acting.await.unwrap_or_else(|_| Err(Failure::retry("the handler panicked while it acted")))
}
