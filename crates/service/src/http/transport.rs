//! A client's connection, with or without TLS.

use std::{io, sync::Arc, time::Duration};

use actix_web::rt::net::TcpStream;
use rustls::ServerConfig;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use super::{bounded::Bounded, budget::Budget};

/// How long a TLS handshake may take. It needs two round trips and a few milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many bytes of an unread response rustls may hold. Its default limit is 64 KiB.
const UNTAKEN: usize = 16 * 1024;

/// A stream of bytes from and to a client, without or with TLS. The layer below TLS has bounds of its own during the
/// handshake.
pub type Transport = Either<TcpStream, Box<TlsStream<Bounded<TcpStream>>>>;

/// Performs the TLS handshake if `tls` is given.
///
/// # Errors
/// Fails if the handshake fails, takes more than ten seconds, or exceeds the server's memory budget.
pub async fn open(stream: TcpStream, tls: Option<Arc<ServerConfig>>, budget: &Arc<Budget>) -> io::Result<Transport> {
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let below = Bounded::new(stream, Arc::clone(budget));
    let agreeing = TlsAcceptor::from(tls).accept_with(below, |session| session.set_buffer_limit(Some(UNTAKEN)));
    let mut stream = tokio::time::timeout(HANDSHAKE, agreeing).await??;
    // From here on, the layer above bounds requests. Bounds on TLS records would not help: a client can have
    // records answered without end.
    stream.get_mut().0.release();
    Ok(Either::Right(Box::new(stream)))
}
