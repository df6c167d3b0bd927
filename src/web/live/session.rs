//! One watcher's socket, from the handshake to its end.

use std::{io, time::Duration};

use actix_web::error::PayloadError;
use actix_ws::{CloseCode, CloseReason, Closed, Message as Frame, MessageStream, ProtocolError, Session as Socket};
use orderflow_service::metrics;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{hub::Watcher, message::Message};

/// How often a watcher is pinged: what stands between us closes a connection on which nothing passes, most after a
/// minute. Whoever has said nothing at all from one ping to the next is gone.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a message may take into the socket's buffer, which is full only where a watcher does not read.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// How long saying why a socket is closed may take: a process that stops has ten seconds for all.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A watcher has nothing to say but pongs: a frame that is larger than any control frame is refused unread, by
/// [`super::frames`].
const LARGEST_FRAME: usize = 125;

/// Frames that a watcher may send from one of our pings to the next: a pong, and whatever pings of its own it likes.
const FRAMES: u32 = 100;

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more can come.
    Final,
    /// This process stops.
    Restart,
    /// Too many watch already.
    Overloaded,
    /// The watcher has closed it, or the connection broke.
    Left,
    /// The watcher did not answer a ping.
    Silent,
    /// The watcher does not read.
    Slow,
    /// The watcher sent what nobody asked for.
    Unasked,
}

impl End {
    /// Its name in the metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Restart => "restart",
            Self::Overloaded => "overloaded",
            Self::Left => "left",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Unasked => "unasked",
        }
    }

    /// What the watcher is told; `None` where nobody listens.
    fn close(self) -> Option<CloseReason> {
        let (code, description) = match self {
            Self::Final => (CloseCode::Normal, "final"),
            Self::Restart => (CloseCode::Away, "restarting: connect again with after=VERSION"),
            Self::Overloaded => {
                (CloseCode::Again, "too many watch: try again later, or ask for the order now and then")
            }
            Self::Left => return None,
            Self::Silent => (CloseCode::Policy, "no answer to a ping"),
            Self::Slow => (CloseCode::Policy, "messages are not read"),
            Self::Unasked => (CloseCode::Unsupported, "nothing is to be sent here"),
        };
        Some(CloseReason { code, description: Some(description.to_owned()) })
    }
}

/// A watcher and its socket.
pub struct Session {
    socket: Socket,
    incoming: MessageStream,
    watcher: Watcher,
    /// The id of the request that was the handshake, for the log.
    request: Uuid,
    /// The version up to which the watcher knows everything; `None` while it knows nothing.
    told: Option<i32>,
}

/// Tells a watcher for whom there is no place. What it says is not read, but a socket whose other half was dropped would
/// be taken for one that broke.
pub async fn refuse(socket: Socket, incoming: MessageStream) {
    close(socket, End::Overloaded).await;
    drop(incoming);
}

/// Closes a socket and says why.
async fn close(socket: Socket, end: End) {
    metrics::get().live.closed(end.as_str());
    if let Some(reason) = end.close() {
        drop(timeout(LAST_WORD, socket.close(Some(reason))).await);
    }
}

impl Session {
    /// A watcher that knows all up to `after`.
    #[must_use]
    pub fn new(request: Uuid, socket: Socket, incoming: MessageStream, watcher: Watcher, after: Option<i32>) -> Self {
        Self { socket, incoming: incoming.max_frame_size(LARGEST_FRAME), watcher, request, told: after }
    }

    /// Tells the watcher everything until one of us ends it.
    pub async fn run(mut self, stop: CancellationToken) {
        let end = self.tell_until(stop).await;
        let order = self.watcher.now().order_id;
        let (request, version) = (self.request, self.told);
        tracing::debug!(request.id = %request, order.id = %order, version, end = end.as_str(), "a watcher is gone");
        // Its place is another's before the last word is said.
        drop(self.watcher);
        close(self.socket, end).await;
    }

    async fn tell_until(&mut self, stop: CancellationToken) -> End {
        let mut pings = pings();
        // So many frames since the last ping; at the first ping nothing was to be heard yet.
        let mut heard = 1;
        if let Err(end) = self.tell().await {
            return end;
        }
        loop {
            let next = tokio::select! {
                // In this order, so that no flood of frames keeps the others waiting.
                biased;
                () = stop.cancelled() => Err(End::Restart),
                () = self.watcher.changed() => self.tell_news().await,
                _ = pings.tick() => {
                    if heard > 0 { heard = 0; self.ping().await } else { Err(End::Silent) }
                }
                frame = self.incoming.recv() => {
                    heard += 1;
                    if heard > FRAMES { Err(End::Unasked) } else { self.hear(frame).await }
                }
            };
            if let Err(end) = next {
                return end;
            }
        }
    }

    /// What has come since the last look. How long that took from its transaction is measured.
    async fn tell_news(&mut self) -> Result<(), End> {
        let before = self.told;
        let outcome = self.tell().await;
        if self.told > before {
            metrics::get().live.lag(self.watcher.now().age());
        }
        outcome
    }

    /// All that the watcher does not know yet.
    async fn tell(&mut self) -> Result<(), End> {
        let state = self.watcher.now();
        let known = match self.told {
            Some(told) if told <= state.version => told,
            // It knows nothing, or says that it knows more than there is.
            _ => {
                self.send(&state.snapshot()).await?;
                self.told = Some(state.version);
                state.version
            }
        };
        for (version, entry) in state.after(known) {
            self.send(&entry).await?;
            self.told = Some(version);
        }
        if state.is_final {
            self.send(&Message::End { reason: "final" }).await?;
            return Err(End::Final);
        }
        Ok(())
    }

    async fn send(&mut self, message: &Message<'_>) -> Result<(), End> {
        sent(timeout(SEND_WITHIN, self.socket.text(message.text())).await)
    }

    async fn ping(&mut self) -> Result<(), End> {
        sent(timeout(SEND_WITHIN, self.socket.ping(b"")).await)
    }

    async fn hear(&mut self, frame: Option<Result<Frame, ProtocolError>>) -> Result<(), End> {
        match frame {
            Some(Ok(Frame::Ping(payload))) => sent(timeout(SEND_WITHIN, self.socket.pong(&payload)).await),
            Some(Ok(Frame::Pong(_) | Frame::Nop)) => Ok(()),
            Some(Ok(Frame::Text(_) | Frame::Binary(_) | Frame::Continuation(_))) => Err(End::Unasked),
            // Its word that it leaves, or the end of the connection.
            Some(Ok(Frame::Close(_))) | None => Err(End::Left),
            Some(Err(ProtocolError::Io(error))) if !is_too_large(&error) => Err(End::Left),
            // A frame that is too large, or none at all.
            Some(Err(_)) => Err(End::Unasked),
        }
    }
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(PayloadError::Overflow))
}

fn pings() -> Interval {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

fn sent(outcome: Result<Result<(), Closed>, tokio::time::error::Elapsed>) -> Result<(), End> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Closed)) => Err(End::Left),
        Err(_) => Err(End::Slow),
    }
}
