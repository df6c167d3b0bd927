//! A connection that bounds how long its client can keep it busy, and how much memory it holds.
//!
//! - Slow readers: once the socket's buffer is full, the client has [`TAKE_WITHIN`] to read the rest of the response. A
//!   time-out per write would let a client hold the connection by reading a byte now and then.
//! - Unfinished requests: the first byte of the response is due [`ANSWER_WITHIN`] after the first byte of the request,
//!   whatever arrives in between.
//! - All connections together hold no more than the server's [`Budget`].

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::budget::Budget;
use crate::metrics::{self, CutOff};

/// How long a client may take to read a response that exceeds the system's buffers. Those hold at least 200 KB; the
/// rest of a page of a megabyte then needs 30 KB/s.
const TAKE_WITHIN: Duration = Duration::from_secs(30);

/// The longest time from a request's first byte to its response's. Our own waits are shorter (ten seconds for a body,
/// ten for the database, twenty for access to the dead letters), so this ends only requests that never become complete.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A connection with its bounds.
#[derive(Debug)]
pub struct Bounded<C> {
    connection: C,
    budget: Arc<Budget>,
    /// Bytes read since the last write: a request without a response.
    unanswered: usize,
    /// Bytes that the last write could not send because the client does not read.
    untaken: usize,
    /// How much of both the budget has counted.
    counted: usize,
    requested_at: Option<Instant>,
    blocked_at: Option<Instant>,
    /// Whether a layer above bounds the connection, so that this one no longer does.
    is_released: bool,
    /// Created on first use. It may fire before the next deadline; it is then reset.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<C> Bounded<C> {
    /// Wraps a connection.
    pub fn new(connection: C, budget: Arc<Budget>) -> Self {
        Self {
            connection,
            budget,
            unanswered: 0,
            untaken: 0,
            counted: 0,
            requested_at: None,
            blocked_at: None,
            is_released: false,
            timer: None,
        }
    }

    /// Lifts the bounds: a layer above has its own.
    pub fn release(&mut self) {
        self.is_released = true;
        (self.unanswered, self.untaken) = (0, 0);
        // Holding less never exceeds the budget.
        drop(self.count());
        (self.requested_at, self.blocked_at, self.timer) = (None, None, None);
    }

    /// Counts what the connection holds now. Fails if that exceeds the budget.
    fn count(&mut self) -> io::Result<()> {
        let (before, now) = (self.counted, self.unanswered.saturating_add(self.untaken));
        if before == now {
            return Ok(());
        }
        self.counted = now;
        if self.budget.change(before, now) { Ok(()) } else { Err(cut_off(CutOff::Memory)) }
    }

    /// Fails if a deadline of the client has passed; else wakes the task at the next one.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let unread = self.blocked_at.map(|at| (at + TAKE_WITHIN, CutOff::Unread));
        let unfinished = self.requested_at.map(|at| (at + ANSWER_WITHIN, CutOff::Unfinished));
        let next = unread.into_iter().chain(unfinished).min_by_key(|(due, _)| *due);
        let Some((due, why)) = next else { return Ok(()) };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if Instant::now() >= due {
                return Err(cut_off(why));
            }
            timer.as_mut().reset(due);
        }
    }
}

impl<C> Drop for Bounded<C> {
    fn drop(&mut self) {
        let _ = self.budget.change(self.counted, 0);
    }
}

fn cut_off(why: CutOff) -> io::Error {
    metrics::get().http.cut_off(why);
    io::ErrorKind::TimedOut.into()
}

impl<C: AsyncRead + Unpin> AsyncRead for Bounded<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_released {
            return Pin::new(&mut this.connection).poll_read(context, into);
        }
        let before = into.filled().len();
        if Pin::new(&mut this.connection).poll_read(context, into)?.is_pending() {
            this.check(context)?;
            return Poll::Pending;
        }
        let read = into.filled().len().saturating_sub(before);
        if read > 0 {
            this.unanswered = this.unanswered.saturating_add(read);
            this.requested_at.get_or_insert_with(Instant::now);
            // The deadline applies even while more bytes arrive.
            if let Err(over) = this.check(context).and_then(|()| this.count()) {
                // Callers rely on a failed read having read nothing.
                into.set_filled(before);
                return Poll::Ready(Err(over));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Bounded<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_released {
            return Pin::new(&mut this.connection).poll_write(context, bytes);
        }
        match Pin::new(&mut this.connection).poll_write(context, bytes)? {
            Poll::Ready(written) => {
                this.unanswered = 0;
                this.requested_at = None;
                this.untaken = bytes.len().saturating_sub(written);
                // After a partial write the socket's buffer is full, so the next write will wait.
                if this.untaken > 0 {
                    this.blocked_at.get_or_insert_with(Instant::now);
                    this.check(context)?;
                }
                this.count()?;
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                this.untaken = bytes.len();
                this.blocked_at.get_or_insert_with(Instant::now);
                this.check(context)?;
                this.count()?;
                Poll::Pending
            }
        }
    }

    /// Flushes to the client. actix-http flushes once everything is written into the system's buffer or TLS's; the
    /// client still has to read the rest.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_released {
            return Pin::new(&mut this.connection).poll_flush(context);
        }
        if Pin::new(&mut this.connection).poll_flush(context)?.is_pending() {
            this.blocked_at.get_or_insert_with(Instant::now);
            this.check(context)?;
            return Poll::Pending;
        }
        this.untaken = 0;
        this.blocked_at = None;
        this.count()?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn connected(buffer: usize, budget: usize) -> (Bounded<DuplexStream>, DuplexStream, Arc<Budget>) {
        let (ours, client) = duplex(buffer);
        let budget = Arc::new(Budget::new(budget));
        (Bounded::new(ours, Arc::clone(&budget)), client, budget)
    }

    async fn writes(connection: &mut Bounded<DuplexStream>, bytes: usize) -> io::Result<()> {
        connection.write_all(&vec![b'x'; bytes]).await?;
        connection.flush().await
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_nothing_or_a_byte_now_and_then_is_cut_off() {
        for drips in [false, true] {
            let (mut ours, mut client, _) = connected(1_024, 1_000_000);
            let reading = tokio::spawn(async move {
                let between = if drips { Duration::from_secs(1) } else { LONG };
                loop {
                    tokio::time::sleep(between).await;
                    drop(client.read_u8().await);
                }
            });
            let began = Instant::now();
            let ended = timeout(LONG, writes(&mut ours, 100_000)).await.expect("it ends").expect_err("it is cut off");
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
            assert_eq!(began.elapsed().as_secs(), TAKE_WITHIN.as_secs(), "drips: {drips}");
            reading.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_in_time_may_have_any_number_of_responses() {
        let (mut ours, mut client, budget) = connected(1_024, 1_000_000);
        let reading = tokio::spawn(async move {
            let mut page = vec![0; 10_000];
            for _ in 0..10 {
                tokio::time::sleep(TAKE_WITHIN - Duration::from_secs(1)).await;
                client.read_exact(&mut page).await.expect("a whole answer");
            }
        });
        for _ in 0..10 {
            writes(&mut ours, 10_000).await.expect("it is taken in time");
        }
        reading.await.expect("all is read");
        drop(ours);
        assert!(budget.change(0, 1_000_000), "nothing is held");
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_never_ends_is_cut_off_however_much_arrives() {
        let (mut ours, mut client, _) = connected(1_024, 1_000_000);
        let sending = tokio::spawn(async move {
            while client.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let began = Instant::now();
        let mut byte = [0];
        let ended = loop {
            match timeout(LONG, ours.read(&mut byte)).await.expect("it ends") {
                Ok(_) => {}
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), ANSWER_WITHIN.as_secs());
        sending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_a_deadline_of_its_own() {
        let (mut ours, mut client, _) = connected(1_024, 1_000_000);
        let mut byte = [0];
        for _ in 0..5 {
            client.write_u8(b'?').await.expect("there is room");
            ours.read_exact(&mut byte).await.expect("it is read");
            tokio::time::sleep(ANSWER_WITHIN - Duration::from_secs(1)).await;
            writes(&mut ours, 1).await.expect("it is answered in time");
            client.read_exact(&mut byte).await.expect("it is taken");
            // No deadline applies between two requests.
            assert!(timeout(LONG, ours.read(&mut byte)).await.is_err());
        }
    }

    #[tokio::test]
    async fn connections_together_hold_no_more_than_the_budget() {
        let (mut ours, mut client, budget) = connected(1_000_000, 200_000);
        assert!(budget.change(0, 150_000), "other connections hold this much");
        client.write_all(&[b'x'; 100_000]).await.expect("there is room");
        let mut all = Vec::new();
        let ended = ours.read_to_end(&mut all).await.expect_err("it is cut off");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(all.len() <= 66_000, "{}", all.len());
        drop(ours);
        assert!(budget.change(0, 50_000), "its bytes are released");
    }
}
