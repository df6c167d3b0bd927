//! Publishes on one channel until it breaks.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use lapin::{Channel, Confirmation, ErrorKind, PublisherConfirm, options::BasicPublishOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Message, PublishError,
    refusals::{Care, Verdict},
};
use crate::{
    fault::{self, CrashPoint, Safeguard},
    telemetry,
};

/// The most messages put on the wire together.
const TOGETHER: usize = 256;

/// The most messages on the wire without a confirm. At any rate that we reach, far fewer are sent before the first
/// confirm, which needs a round trip and writes to three disks.
const UNCONFIRMED: usize = 4_096;

/// How long a confirm may take: a broker in a memory or disk alarm accepts nothing at all. A message whose confirm did
/// not come in time may still arrive.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait for the answers of messages on the wire once their channel is closed. lapin answers them right
/// afterwards.
const CAUSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to check an idle channel, so that a connection that broke while idle is reopened before the next message
/// needs it.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// AMQP 0-9-1's reply code for an action that the user may not do.
const ACCESS_REFUSED: u16 = 403;

/// Where the outcome of a message goes.
type Answer = oneshot::Sender<Result<(), PublishError>>;

/// A message to publish, and who waits for the outcome.
pub(super) struct Job {
    pub message: Message,
    pub done: Answer,
}

/// Why publishing on a channel ended.
pub(super) enum Ended {
    /// The process stops.
    Stopped,
    /// The channel can no longer be trusted.
    Broken(Broken),
}

/// Why a channel can no longer be trusted.
pub(super) struct Broken {
    pub why: String,
    /// Whether the broker closed it because the user lacks a right.
    pub forbidden: bool,
}

impl Broken {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), forbidden: false }
    }
}

impl From<lapin::Error> for Broken {
    fn from(error: lapin::Error) -> Self {
        let forbidden = matches!(error.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == ACCESS_REFUSED);
        Self { why: telemetry::chain(&error), forbidden }
    }
}

/// The answers to come for the messages on the wire.
type Confirming = FuturesUnordered<BoxFuture<'static, Result<(), Broken>>>;

/// Publishes until the channel breaks or the process stops. Messages without a confirm are then answered as lost.
/// `unsent` keeps those that were taken and not put on the wire, at most [`TOGETHER`].
pub(super) async fn serve(
    channel: &Channel,
    waiting: &mut mpsc::Receiver<Job>,
    unsent: &mut Vec<Job>,
    care: &mut Care,
    stop: &CancellationToken,
) -> Ended {
    let mut confirming = Confirming::new();
    match publish_until_stopped(channel, waiting, unsent, care, stop, &mut confirming).await {
        Ok(()) => Ended::Stopped,
        Err(broken) => Ended::Broken(cause(broken, confirming).await),
    }
}

/// Returns why the channel broke. If RabbitMQ closed it because of a message, lapin says so only to messages that are
/// on the wire. Later sends, and our check of the channel, only find it closed, and may notice first.
async fn cause(noticed: Broken, mut confirming: Confirming) -> Broken {
    if noticed.forbidden {
        return noticed;
    }
    let refusal = async {
        while let Some(answer) = confirming.next().await {
            if let Err(broken) = answer
                && broken.forbidden
            {
                return Some(broken);
            }
        }
        None
    };
    tokio::time::timeout(CAUSE_TIMEOUT, refusal).await.ok().flatten().unwrap_or(noticed)
}

async fn publish_until_stopped(
    channel: &Channel,
    waiting: &mut mpsc::Receiver<Job>,
    unsent: &mut Vec<Job>,
    care: &mut Care,
    stop: &CancellationToken,
    confirming: &mut Confirming,
) -> Result<(), Broken> {
    let mut look_after = tokio::time::interval(LOOK_AFTER);
    let mut stopping = false;
    loop {
        while !unsent.is_empty() {
            send(channel, unsent, care, confirming).await?;
        }
        if stopping && confirming.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        let room = UNCONFIRMED.saturating_sub(confirming.len()).min(TOGETHER);
        tokio::select! {
            Some(answer) = confirming.next() => answer?,
            count = waiting.recv_many(unsent, room), if room > 0 => {
                if count == 0 {
                    return Ok(());
                }
            }
            _ = look_after.tick() => {
                if !channel.status().connected() {
                    return Err(Broken::because("the connection was closed"));
                }
            }
            () = stop.cancelled(), if !stopping => stopping = true,
        }
    }
}

/// Sends the messages against which nothing is known, and the first of those that may be refused, alone. Leaves the
/// rest in `unsent`: the outcome may change what is known about them.
async fn send(
    channel: &Channel,
    unsent: &mut Vec<Job>,
    care: &mut Care,
    confirming: &mut Confirming,
) -> Result<(), Broken> {
    let mut together = Vec::with_capacity(unsent.len());
    for job in std::mem::take(unsent) {
        match care.verdict(&job.message) {
            Verdict::Refuse => drop(job.done.send(Err(PublishError::Forbidden))),
            Verdict::SendAlone => unsent.push(job),
            Verdict::Send => {
                care.sending_together(&job.message);
                together.push(job);
            }
        }
    }
    put_on_wire(channel, together, confirming).await?;
    if unsent.is_empty() {
        return Ok(());
    }
    until_answered(confirming).await?;
    let alone = unsent.remove(0);
    care.sending_alone(&alone.message);
    put_on_wire(channel, vec![alone], confirming).await?;
    until_answered(confirming).await?;
    care.allowed();
    Ok(())
}

/// Waits until no message is in flight.
async fn until_answered(confirming: &mut Confirming) -> Result<(), Broken> {
    while let Some(answer) = confirming.next().await {
        answer?;
    }
    Ok(())
}

/// A message on the wire.
struct Sent {
    confirm: PublisherConfirm,
    done: Answer,
}

/// Puts messages on the wire together. Waiting for each one would cost two thread switches, to lapin's thread and back,
/// and a write to the socket.
async fn put_on_wire(channel: &Channel, jobs: Vec<Job>, confirming: &mut Confirming) -> Result<(), Broken> {
    let sending = jobs.into_iter().map(async |Job { message, done }| {
        let Message { exchange, routing_key, properties, body } = message;
        // Not `mandatory`: lapin 4.12 gives a returned message to the next confirm, which may be another message's.
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(exchange.into(), routing_key.into(), options, &body, properties).await;
        // On failure the sender is dropped, and the caller gets `PublishError::Lost`.
        sent.map(|confirm| Sent { confirm, done })
    });
    let mut sending: FuturesUnordered<_> = sending.collect();
    let deadline = Instant::now() + CONFIRM_TIMEOUT;
    let mut broken = None;
    loop {
        match tokio::time::timeout_at(deadline, sending.next()).await {
            Ok(Some(Ok(sent))) => confirming.push(confirmed(sent).boxed()),
            Ok(Some(Err(error))) => broken = Some(error.into()),
            Ok(None) => break,
            Err(_) => {
                broken = Some(Broken::because(format!("messages could not be sent within {CONFIRM_TIMEOUT:?}")));
                break;
            }
        }
    }
    match broken {
        Some(broken) => Err(broken),
        None => {
            fault::crash_here(CrashPoint::AfterPublish);
            Ok(())
        }
    }
}

/// Answers the caller when the confirm arrives; fails when the channel can no longer be trusted.
async fn confirmed(Sent { confirm, done }: Sent) -> Result<(), Broken> {
    let (answer, verdict) = if fault::without(Safeguard::Confirm) {
        (Ok(()), Ok(()))
    } else {
        match tokio::time::timeout(CONFIRM_TIMEOUT, confirm).await {
            Ok(Ok(Confirmation::Ack(_))) => (Ok(()), Ok(())),
            Ok(Ok(Confirmation::Nack(_))) => (Err(PublishError::Refused), Ok(())),
            Ok(Ok(Confirmation::NotRequested)) => {
                (Err(PublishError::Lost), Err(Broken::because("the channel is not in confirm mode")))
            }
            Ok(Err(error)) => (Err(PublishError::Lost), Err(error.into())),
            Err(_) => {
                let why = format!("a message was not confirmed within {CONFIRM_TIMEOUT:?}");
                (Err(PublishError::TimedOut), Err(Broken::because(why)))
            }
        }
    };
    // The caller may have stopped waiting.
    let _ = done.send(answer);
    verdict
}
