//! Finds the SQLSTATE of each error that PostgreSQL sends.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    error::SqlState,
    tls::{ChannelBinding, TlsStream},
};

use super::session::Session;

/// A message begins with its type and its length, which counts itself.
const HEADER: usize = 5;

/// The size of the length field.
const LENGTH: usize = 4;

/// How many bytes of an error to keep. The SQLSTATE is its third field, after two words for the severity; the texts
/// that follow may be long.
const HEAD_OF_AN_ERROR: usize = 256;

/// A stream that records the SQLSTATE of every error in it.
pub(super) struct Watched<S> {
    stream: S,
    scanner: Scanner,
    session: Arc<Session>,
    binding: Option<Vec<u8>>,
}

impl<S> Watched<S> {
    /// Watches a stream from the first byte of the protocol: TLS is below it, and has this channel binding.
    pub(super) fn new(stream: S, binding: Option<Vec<u8>>, session: Arc<Session>) -> Self {
        Self { stream, scanner: Scanner::default(), session, binding }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.binding.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        this.scanner.feed(came, |state| this.session.note(&state));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Parses the messages of the protocol across reads. Its buffer is bounded by [`HEAD_OF_AN_ERROR`].
#[derive(Debug, Default)]
struct Scanner {
    /// The bytes of an unfinished header, or of an error's head.
    held: Vec<u8>,
    /// The bytes left of the current message.
    left: usize,
    /// Whether that message is an error.
    is_error: bool,
}

impl Scanner {
    fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(SqlState)) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (some, rest) = bytes.split_at(bytes.len().min(HEADER.saturating_sub(self.held.len())));
                self.held.extend_from_slice(some);
                bytes = rest;
                self.begin();
            } else {
                let (some, rest) = bytes.split_at(bytes.len().min(self.left));
                if self.is_error {
                    let room = HEAD_OF_AN_ERROR.saturating_sub(self.held.len());
                    self.held.extend_from_slice(some.get(..some.len().min(room)).unwrap_or_default());
                }
                self.left = self.left.saturating_sub(some.len());
                bytes = rest;
                if self.left == 0 && self.is_error {
                    if let Some(state) = sqlstate(&self.held) {
                        found(state);
                    }
                    self.held.clear();
                }
            }
        }
    }

    /// Starts a message once its header is complete.
    fn begin(&mut self) {
        if let [kind, a, b, c, d] = *self.held.as_slice() {
            self.is_error = kind == b'E';
            self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX).saturating_sub(LENGTH);
            self.held.clear();
        }
    }
}

/// Returns the field `C` of an error's fields. Each field is a letter and a text that ends with a zero byte.
fn sqlstate(fields: &[u8]) -> Option<SqlState> {
    let code = fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"))?;
    Some(SqlState::from_code(std::str::from_utf8(code).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + LENGTH).expect("short");
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    fn error(code: &str, text: &str) -> Vec<u8> {
        message(b'E', format!("SFEHLER\0VERROR\0C{code}\0M{text}\0\0").as_bytes())
    }

    /// In chunks of every size, since a read may end anywhere.
    #[test]
    fn every_error_is_found_wherever_a_read_ends() {
        let long = "Platte voll ".repeat(100);
        let stream = [
            message(b'Z', b"I"),
            message(b'1', b""),
            message(b'D', b"E\0\0\0\x08C99999\0"),
            error("53100", &long),
            message(b'N', b"SNOTICE\0C00000\0\0"),
            error("25006", "nur lesen"),
            message(b'Z', b"E"),
        ]
        .concat();
        for size in 1..stream.len() {
            let (mut scanner, mut found) = (Scanner::default(), Vec::new());
            for chunk in stream.chunks(size) {
                scanner.feed(chunk, |state| found.push(state));
                assert!(scanner.held.len() <= HEAD_OF_AN_ERROR);
            }
            assert_eq!(found, [SqlState::DISK_FULL, SqlState::READ_ONLY_SQL_TRANSACTION], "in chunks of {size}");
        }
    }

    #[test]
    fn malformed_error_gives_no_state() {
        for bytes in [error("", ""), message(b'E', b"\0"), message(b'E', b"C\xff\xff\0"), message(b'E', b"")] {
            let mut found = Vec::new();
            Scanner::default().feed(&bytes, |state| found.push(state));
            assert!(found.iter().all(|state| state.code().is_empty()), "{found:?}");
        }
    }
}
