//! A client's connection, with or without TLS.

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

/// How long a TLS handshake may take. It needs two round trips and a few milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many bytes of an unread response rustls may hold. Its default limit is 64 KiB.
const UNTAKEN: usize = 16 * 1024;

/// A stream of bytes from and to a client.
pub enum Transport {
    /// Without TLS.
    Clear(TcpStream),
    /// With TLS. The layer below it has bounds of its own during the handshake.
    Encrypted(Box<TlsStream<Bounded<TcpStream>>>),
}

impl Transport {
    /// Performs the TLS handshake if `tls` is given.
    ///
    /// # Errors
    /// Fails if the handshake fails, takes more than ten seconds, or exceeds the server's memory budget.
    pub async fn open(stream: TcpStream, tls: Option<Arc<ServerConfig>>, budget: &Arc<Budget>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(Self::Clear(stream)) };
        let below = Bounded::new(stream, Arc::clone(budget));
        let agreeing = TlsAcceptor::from(tls).accept_with(below, |session| session.set_buffer_limit(Some(UNTAKEN)));
        let mut stream = tokio::time::timeout(HANDSHAKE, agreeing).await??;
        // From here on, the layer above bounds requests. Bounds on TLS records would not help: a client can have
        // records answered without end.
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
