//! Publishes with confirms, from any number of tasks, over one channel that one task owns.
//!
//! The owning task is essential: a confirm-mode channel shared by tasks on different threads resolves the wrong confirm
//! (seen with lapin 4.12: 90 to 244 of 32,000).
//!
//! RabbitMQ closes the channel when the user may not publish a kind of event, and does not say which message caused it.
//! So after a refusal messages go one at a time until the refused one is known. Its kind is then tried once a minute
//! while no other message is in flight; all other kinds are published as usual.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use lapin::{
    Channel, Confirmation, ErrorKind, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    BrokerError, Connector, Message,
    refusals::{Care, Verdict},
};
use crate::{
    Backoff,
    fault::{self, CrashPoint, Safeguard},
    metrics, telemetry,
};

/// The most messages handed over by callers that are not yet on the wire.
const WAITING: usize = 4_096;

/// The most messages on the wire without a confirm. At any rate that we reach, far fewer are sent before the first
/// confirm, which needs a round trip and writes to three disks.
const UNCONFIRMED: usize = 4_096;

/// How long a confirm may take: a broker in a memory or disk alarm accepts nothing at all. A message whose confirm did
/// not come in time may still arrive.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// How often to check an idle channel, so that a connection that broke while idle is reopened before the next message
/// needs it.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// AMQP 0-9-1's reply code for an action that the user may not do.
const ACCESS_REFUSED: u16 = 403;

/// Why a message is not confirmed. The broker may still have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Not connected; the message was not sent.
    #[error("not connected to RabbitMQ")]
    NotConnected,
    /// The connection broke before the confirm came.
    #[error("the connection broke before RabbitMQ confirmed the message")]
    Lost,
    /// The broker refused the message.
    #[error("RabbitMQ refused the message")]
    Refused,
    /// The user may not publish such messages.
    #[error("the user in AMQP_URL may not publish this")]
    Forbidden,
    /// The confirm did not come in time.
    #[error("RabbitMQ did not confirm the message in time")]
    TimedOut,
}

impl PublishError {
    /// Returns the error's name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::TimedOut => "timed_out",
        }
    }
}

type Answer = oneshot::Sender<Result<(), PublishError>>;

struct Job {
    message: Message,
    done: Answer,
}

/// A handle to the publishing task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    connected: watch::Receiver<bool>,
    /// When RabbitMQ last confirmed a message.
    last_confirm: Arc<Mutex<Option<Instant>>>,
}

impl Publisher {
    /// Starts the task on the current runtime, which must be multi-threaded. The task connects and reconnects until
    /// `stop` is cancelled; then it finishes the messages it has.
    #[must_use]
    pub fn start(connector: Connector, stop: CancellationToken) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (connected_now, connected) = watch::channel(false);
        tokio::spawn(run(connector, waiting, connected_now, stop));
        Self { jobs, connected, last_confirm: Arc::default() }
    }

    /// Returns whether it is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until it is connected. Never returns once the publisher has stopped.
    pub async fn connected(&self) {
        if self.connected.clone().wait_for(|connected| *connected).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Publishes a message and waits until the broker has it safely: for a quorum queue, on the disks of a majority.
    ///
    /// # Errors
    /// See [`PublishError`]. Only [`PublishError::NotConnected`] proves that nothing was sent.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let began = Instant::now();
        let outcome = self.hand_over(message).await;
        if outcome.is_ok() {
            *self.last_confirm.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        metrics::get().outbox.published(outcome.map_or_else(PublishError::as_str, |()| "confirmed"), began.elapsed());
        outcome
    }

    /// Returns whether RabbitMQ has confirmed any message since.
    #[must_use]
    pub fn has_confirmed_since(&self, since: Instant) -> bool {
        self.last_confirm.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last > since)
    }

    async fn hand_over(&self, message: Message) -> Result<(), PublishError> {
        // Without this check, messages would pile up behind an unavailable broker.
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let (done, outcome) = oneshot::channel();
        self.jobs.send(Job { message, done }).await.map_err(|_| PublishError::NotConnected)?;
        outcome.await.unwrap_or(Err(PublishError::Lost))
    }
}

async fn run(
    connector: Connector,
    mut waiting: mpsc::Receiver<Job>,
    connected: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::default();
    let mut was_away = false;
    let mut care = Care::default();
    while !stop.is_cancelled() {
        match open(&connector).await {
            Ok((connection, channel)) => {
                if was_away {
                    tracing::info!("publishing to RabbitMQ again");
                }
                (backoff, was_away) = (Backoff::default(), false);
                connected.send_replace(true);
                let ended = serve(&channel, &mut waiting, &mut care, &stop).await;
                let forbidden = matches!(&ended, Ended::Broken(broken) if broken.forbidden);
                connected.send_replace(forbidden);
                if let Ended::Broken(Broken { why, .. }) = ended {
                    was_away = true;
                    tracing::warn!(why, "the publishing connection to RabbitMQ broke; connecting again");
                }
                // During an alarm a connection does not even answer this.
                drop(tokio::time::timeout(Duration::from_secs(2), connection.close(200, "done".into())).await);
                if forbidden {
                    // RabbitMQ is available: immediately publish what waits behind the refused message.
                    care.refused();
                    continue;
                }
            }
            Err(error) => {
                connected.send_replace(false);
                if !was_away {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "RabbitMQ cannot be reached; events wait in the outbox"
                    );
                }
                was_away = true;
            }
        }
        refuse(&mut waiting);
        tokio::select! {
            () = backoff.wait() => {}
            () = stop.cancelled() => {}
        }
    }
    waiting.close();
    refuse(&mut waiting);
}

/// Answers the messages that nobody will send, so that their callers do not wait.
fn refuse(waiting: &mut mpsc::Receiver<Job>) {
    while let Ok(job) = waiting.try_recv() {
        let _ = job.done.send(Err(PublishError::NotConnected));
    }
}

async fn open(connector: &Connector) -> Result<(lapin::Connection, Channel), BrokerError> {
    let connection = connector.connect("publisher").await?;
    let ready = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok::<_, lapin::Error>(channel)
    };
    match tokio::time::timeout(CONFIRM_TIMEOUT, ready).await {
        Ok(channel) => {
            let channel = channel?;
            Ok((connection, channel))
        }
        Err(_) => Err(BrokerError::TimedOut(CONFIRM_TIMEOUT)),
    }
}

enum Ended {
    Stopped,
    Broken(Broken),
}

/// Why a channel can no longer be trusted.
struct Broken {
    why: String,
    /// Whether the broker closed it because the user lacks a right.
    forbidden: bool,
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

/// The most messages put on the wire together.
const TOGETHER: usize = 256;

/// Publishes until the channel breaks or the process stops. Reports events without a confirm as lost when it ends.
async fn serve(
    channel: &Channel,
    waiting: &mut mpsc::Receiver<Job>,
    care: &mut Care,
    stop: &CancellationToken,
) -> Ended {
    let mut confirming = FuturesUnordered::new();
    let mut look_after = tokio::time::interval(LOOK_AFTER);
    let mut stopping = false;
    let mut jobs = Vec::with_capacity(TOGETHER);
    loop {
        if stopping && confirming.is_empty() && waiting.is_empty() {
            return Ended::Stopped;
        }
        let room = care.at_most(UNCONFIRMED).saturating_sub(confirming.len()).min(TOGETHER);
        tokio::select! {
            Some(confirmed) = confirming.next() => {
                if let Err(why) = confirmed {
                    return Ended::Broken(why);
                }
            }
            count = waiting.recv_many(&mut jobs, room), if room > 0 => {
                if count == 0 {
                    return Ended::Stopped;
                }
                let (together, alone) = sort(&mut jobs, care);
                match send(channel, together, care).await {
                    Ok(sent) => confirming.extend(sent.into_iter().map(confirmed)),
                    Err(broken) => return Ended::Broken(broken),
                }
                for job in alone {
                    while let Some(confirmed) = confirming.next().await {
                        if let Err(why) = confirmed {
                            return Ended::Broken(why);
                        }
                    }
                    if let Err(broken) = send_alone(channel, job, care).await {
                        return Ended::Broken(broken);
                    }
                }
            }
            _ = look_after.tick() => {
                if !channel.status().connected() {
                    return Ended::Broken(Broken::because("the connection was closed"));
                }
            }
            () = stop.cancelled(), if !stopping => stopping = true,
        }
    }
}

/// Refuses messages of kinds that were refused within the last minute. Returns the others, and separately those to send
/// alone.
fn sort(jobs: &mut Vec<Job>, care: &Care) -> (Vec<Job>, Vec<Job>) {
    let (mut together, mut alone) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs.drain(..) {
        match care.verdict(&job.message) {
            Verdict::Refuse => drop(job.done.send(Err(PublishError::Forbidden))),
            Verdict::SendAlone => alone.push(job),
            Verdict::Send => together.push(job),
        }
    }
    (together, alone)
}

/// Sends a message while no other is in flight, and waits for its confirm, so that a refusal affects no other message.
async fn send_alone(channel: &Channel, job: Job, care: &mut Care) -> Result<(), Broken> {
    care.sending(&job.message, true);
    for sent in put_on_wire(channel, vec![job]).await? {
        confirmed(sent).await?;
    }
    care.allowed();
    Ok(())
}

/// Sends messages of kinds that were not refused.
async fn send(channel: &Channel, jobs: Vec<Job>, care: &mut Care) -> Result<Vec<Sent>, Broken> {
    for job in &jobs {
        care.sending(&job.message, care.at_most(UNCONFIRMED) == 1);
    }
    put_on_wire(channel, jobs).await
}

/// A message on the wire.
struct Sent {
    confirm: PublisherConfirm,
    done: Answer,
}

/// Puts messages on the wire together. Waiting for each one would cost two thread switches, to lapin's thread and back,
/// and a write to the socket.
async fn put_on_wire(channel: &Channel, jobs: Vec<Job>) -> Result<Vec<Sent>, Broken> {
    let sending = jobs.into_iter().map(async |Job { message, done }| {
        let Message { exchange, routing_key, properties, body } = message;
        // Not `mandatory`: lapin 4.12 gives a returned message to the next confirm, which may be another message's.
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(exchange.into(), routing_key.into(), options, &body, properties).await;
        sent.map(|confirm| Sent { confirm, done })
    });
    // On failure the senders are dropped, and each caller gets `PublishError::Lost`.
    let sent = match tokio::time::timeout(CONFIRM_TIMEOUT, try_join_all(sending)).await {
        Ok(sent) => sent?,
        Err(_) => return Err(Broken::because(format!("messages could not be sent within {CONFIRM_TIMEOUT:?}"))),
    };
    fault::crash_here(CrashPoint::AfterPublish);
    Ok(sent)
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
