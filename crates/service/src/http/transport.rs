//! A client's connection, encrypted or not.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{bounded::Bounded, budget::Budget};

/// How long the encryption may take to be agreed on: two round trips and some milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What rustls may hold of an answer that the client does not take, in bytes; its own limit is 64 KiB.
const UNTAKEN: usize = 16 * 1024;

/// Bytes from and to a client.
pub enum Transport {
    /// As they are on the wire.
    Clear(TcpStream),
    /// Encrypted. What is below has bounds of its own while the encryption is agreed on.
    Encrypted(Box<TlsStream<Bounded<TcpStream>>>),
}

impl Transport {
    /// Agrees on encryption, where `tls` is given.
    ///
    /// # Errors
    /// When that fails, takes more than ten seconds, or takes too much memory together with all else that the server holds.
    pub async fn open(stream: TcpStream, tls: Option<Arc<ServerConfig>>, budget: &Arc<Budget>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(Self::Clear(stream)) };
        let below = Bounded::new(stream, Arc::clone(budget));
        let agreeing = TlsAcceptor::from(tls).accept_with(below, |session| session.set_buffer_limit(Some(UNTAKEN)));
        let mut stream = tokio::time::timeout(HANDSHAKE, agreeing).await??;
        // From here on the request counts, and not what carries it: a client may have the latter answered for ever.
        stream.get_mut().0.release();
        Ok(Self::Encrypted(Box::new(stream)))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, into),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
