//! Publishes with confirms, from any number of tasks, over one channel that one task owns.
//!
//! The owning task is essential: a confirm-mode channel shared by tasks on different threads resolves the wrong confirm
//! (seen with lapin 4.12: 90 to 244 of 32,000).
//!
//! RabbitMQ closes the channel when the user may not publish a kind of event, and does not say which message caused it.
//! So after a refusal the next message of each kind that was in flight goes alone, until the refused kind is known. It is
//! then tried once a minute, alone; all other kinds are published as usual.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{Channel, options::ConfirmSelectOptions};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    BrokerError, Connector, Message,
    publishing::{Broken, CONFIRM_TIMEOUT, Ended, Job, serve},
    refusals::Care,
};
use crate::{Backoff, metrics, telemetry};

/// The most messages handed over by callers that are not yet on the wire.
const WAITING: usize = 4_096;

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
    let (mut care, mut unsent) = (Care::default(), Vec::new());
    while !stop.is_cancelled() {
        match open(&connector).await {
            Ok((connection, channel)) => {
                if was_away {
                    tracing::info!("publishing to RabbitMQ again");
                }
                (backoff, was_away) = (Backoff::default(), false);
                connected.send_replace(true);
                let ended = serve(&channel, &mut waiting, &mut unsent, &mut care, &stop).await;
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
        refuse(&mut unsent, &mut waiting);
        tokio::select! {
            () = backoff.wait() => {}
            () = stop.cancelled() => {}
        }
    }
    waiting.close();
    refuse(&mut unsent, &mut waiting);
}

/// Answers the messages that nobody will send, so that their callers do not wait.
fn refuse(unsent: &mut Vec<Job>, waiting: &mut mpsc::Receiver<Job>) {
    let waiting = std::iter::from_fn(|| waiting.try_recv().ok());
    for job in unsent.drain(..).chain(waiting) {
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
