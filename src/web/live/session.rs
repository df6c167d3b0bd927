//! One watcher's socket, from the handshake to its end.

use std::{io, time::Duration};

use actix_web::error::PayloadError;
use actix_ws::{CloseCode, CloseReason, Closed, Message as Frame, MessageStream, ProtocolError, Session as Socket};
use orderflow_service::metrics;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{hub::Watcher, message::Message};

/// How often a watcher is pinged. Proxies close idle connections, most of them after a minute. A watcher that sends
/// nothing from one ping to the next counts as gone.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a message may wait for room in the socket's buffer, which is full only if the watcher does not read.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// How long sending the close frame may take: a stopping process has ten seconds for everything.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The largest frame that a watcher may send. It only sends control frames; [`super::frames`] rejects larger ones
/// unread.
const LARGEST_FRAME: usize = 125;

/// The most frames that a watcher may send from one ping of ours to the next: a pong, and pings of its own.
const FRAMES: u32 = 100;

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// No more entries can come.
    Final,
    /// This process is stopping.
    Restart,
    /// The limit of watchers is reached.
    Overloaded,
    /// The watcher closed the socket, or the connection broke.
    Left,
    /// The watcher did not answer a ping.
    Silent,
    /// The watcher does not read.
    Slow,
    /// The watcher sent data or too many frames.
    Unasked,
}

impl End {
    /// Returns the reason's name in the metrics.
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

    /// Returns the close frame for the watcher; `None` if it has left.
    fn close(self) -> Option<CloseReason> {
        let (code, description) = match self {
            Self::Final => (CloseCode::Normal, "final"),
            Self::Restart => (CloseCode::Away, "restarting: connect again with after=VERSION"),
            Self::Overloaded => (CloseCode::Again, "too many watchers: try again later, or poll the order"),
            Self::Left => return None,
            Self::Silent => (CloseCode::Policy, "no answer to a ping"),
            Self::Slow => (CloseCode::Policy, "messages were not read in time"),
            Self::Unasked => (CloseCode::Unsupported, "clients must not send data here"),
        };
        Some(CloseReason { code, description: Some(description.to_owned()) })
    }
}

/// A watcher and its socket.
pub struct Session {
    socket: Socket,
    incoming: MessageStream,
    watcher: Watcher,
    /// The id of the handshake's request, for the log.
    request: Uuid,
    /// The version up to which the watcher has everything; `None` before the first message.
    sent_up_to: Option<i32>,
}

/// Closes the socket of a watcher beyond the limit. `incoming` is not read but kept until then: dropping it earlier
/// would look like a broken connection.
pub async fn refuse(socket: Socket, incoming: MessageStream) {
    close(socket, End::Overloaded).await;
    drop(incoming);
}

/// Closes a socket with the reason.
async fn close(socket: Socket, end: End) {
    metrics::get().live.closed(end.as_str());
    if let Some(reason) = end.close() {
        drop(timeout(LAST_WORD, socket.close(Some(reason))).await);
    }
}

impl Session {
    /// Creates a session for a watcher that has everything up to `after`.
    #[must_use]
    pub fn new(request: Uuid, socket: Socket, incoming: MessageStream, watcher: Watcher, after: Option<i32>) -> Self {
        Self { socket, incoming: incoming.max_frame_size(LARGEST_FRAME), watcher, request, sent_up_to: after }
    }

    /// Sends the watcher every entry until either side ends the session.
    pub async fn run(mut self, stop: CancellationToken) {
        let end = self.tell_until(stop).await;
        let order = self.watcher.now().order_id;
        let (request, version) = (self.request, self.sent_up_to);
        tracing::debug!(
            request.id = %request, order.id = %order, version, end = end.as_str(), "a watcher's session has ended"
        );
        // Free the place before the close frame is sent.
        drop(self.watcher);
        close(self.socket, end).await;
    }

    async fn tell_until(&mut self, stop: CancellationToken) -> End {
        let mut pings = pings();
        // Frames received since the last ping. Starts at 1, since before the first ping no answer is due.
        let mut heard = 1;
        if let Err(end) = self.tell().await {
            return end;
        }
        loop {
            let next = tokio::select! {
                // In this order, so that a flood of frames cannot starve the other branches.
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

    /// Sends the entries since the last message, and records the lag since the transaction.
    async fn tell_news(&mut self) -> Result<(), End> {
        let before = self.sent_up_to;
        let outcome = self.tell().await;
        if self.sent_up_to > before {
            metrics::get().live.lag(self.watcher.now().age());
        }
        outcome
    }

    /// Sends everything that the watcher does not have yet.
    async fn tell(&mut self) -> Result<(), End> {
        let state = self.watcher.now();
        let known = match self.sent_up_to {
            Some(version) if version <= state.version => version,
            // The watcher has nothing yet, or claims a version that does not exist.
            _ => {
                self.send(&state.snapshot()).await?;
                self.sent_up_to = Some(state.version);
                state.version
            }
        };
        for (version, entry) in state.after(known) {
            self.send(&entry).await?;
            self.sent_up_to = Some(version);
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
            // A close frame, or the end of the connection.
            Some(Ok(Frame::Close(_))) | None => Err(End::Left),
            Some(Err(ProtocolError::Io(error))) if !is_too_large(&error) => Err(End::Left),
            // A frame that is too large, or bytes that are not a frame.
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
