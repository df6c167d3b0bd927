//! Encrypts a connection to PostgreSQL before its protocol begins. The driver can do that too, but then what the server sends
//! would be encrypted where we read along.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{ProtocolVersion, pki_types::ServerName};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::{
    Config,
    config::{SslMode, SslNegotiation},
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio_rustls::TlsConnector;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::{self, PostgresTls},
    tls::{self, LoadError, Roots, Verification},
};

/// The request for TLS: a message of eight bytes with the number 80877103 (PostgreSQL's documentation, 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The protocol's name for servers that begin with TLS (`sslnegotiation=direct`).
const ALPN: &[u8] = b"postgresql";

/// A connection's bytes, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// It ended, or nothing came.
    #[error("the connection ended before it was encrypted: {0}")]
    Ended(io::Error),
    /// The server has no certificate, or somebody in between says so.
    #[error(
        "the server does not offer TLS, which sslmode={0} requires: set ssl = on there. Only this machine and hosts in PLAINTEXT_HOSTS \
         may be reached without TLS"
    )]
    NotOffered(config::SslMode),
    /// PostgreSQL does not answer like this.
    #[error("the answer is not PostgreSQL's: its first byte is {0:#04x}")]
    NoPostgres(u8),
    /// One of the files that the address names.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// Certificates cannot name this host.
    #[error("no certificate can name the host {0}")]
    Name(String),
    /// The certificates, mostly.
    #[error("the TLS handshake failed (sslmode={mode}): {why}")]
    Handshake {
        /// What was asked for.
        mode: config::SslMode,
        /// What failed.
        why: String,
    },
}

/// How a connection is protected from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// It stays on this machine: a Unix socket.
    Socket,
    /// Not at all.
    Clear,
    /// By TLS.
    Tls {
        /// Such as `TLS 1.3`.
        version: &'static str,
        /// How the server was verified.
        verification: Verification,
        /// Against what.
        roots: Roots,
        /// Whether a client certificate was at hand.
        has_identity: bool,
    },
}

/// A stream to the server, and what the driver has to know of it.
pub(super) struct Secured {
    pub(super) stream: Box<dyn Stream>,
    pub(super) protection: Protection,
    /// What binds the password's proof to the server's certificate.
    binding: Option<Vec<u8>>,
}

impl Secured {
    /// A stream as it is.
    pub(super) fn plain(stream: Box<dyn Stream>, protection: Protection) -> Self {
        Self { stream, protection, binding: None }
    }

    /// Encrypts the stream as the address asks for. `host` is what the server's certificate has to name.
    ///
    /// # Errors
    /// When that does not come about; then nothing has been sent that is worth anything.
    pub(super) async fn agree(
        mut stream: Box<dyn Stream>,
        tls: &PostgresTls,
        config: &Config,
        host: &str,
    ) -> Result<Self, TlsError> {
        if tls.mode == config::SslMode::Disable {
            return Ok(Self::plain(stream, Protection::Clear));
        }
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if !is_direct && !is_offered(&mut stream).await? {
            // Settings take `prefer` only for hosts to which everything may go in clear.
            if tls.is_required() {
                return Err(TlsError::NotOffered(tls.mode));
            }
            return Ok(Self::plain(stream, Protection::Clear));
        }
        let client = tls.client.load(is_direct.then_some(ALPN))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(|error| {
            let why = tls::explain(&error).unwrap_or_else(|| error.to_string());
            TlsError::Handshake { mode: tls.mode, why }
        })?;
        let (_, session) = stream.get_ref();
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let binding = shown.and_then(|certificate| end_point(certificate));
        let protection = Protection::Tls {
            version,
            verification: tls.client.verification,
            roots: tls.client.roots.clone(),
            has_identity: tls.client.identity.is_some(),
        };
        Ok(Self { stream: Box::new(stream), protection, binding })
    }

    /// What tells the driver that there is nothing left to encrypt, and what binds the connection.
    pub(super) fn for_driver(&self, config: &Config) -> (Config, Bound) {
        let mut config = config.clone();
        if let Protection::Tls { .. } = self.protection {
            // Then it calls for encryption at once, and gets this stream back with its binding.
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        } else {
            config.ssl_mode(SslMode::Disable).ssl_negotiation(SslNegotiation::Postgres);
        }
        (config, Bound(self.binding.clone()))
    }
}

/// Asks whether the server encrypts. Reads its answer of one byte and no more: what somebody in between may have put behind it
/// would else count as encrypted (CVE-2021-23222).
async fn is_offered(stream: &mut Box<dyn Stream>) -> Result<bool, TlsError> {
    stream.write_all(&SSL_REQUEST).await.map_err(TlsError::Ended)?;
    stream.flush().await.map_err(TlsError::Ended)?;
    match stream.read_u8().await.map_err(TlsError::Ended)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        other => Err(TlsError::NoPostgres(other)),
    }
}

/// The hash of the server's certificate by the function that its signature uses, with SHA-256 for what is weaker (RFC 5929, 4.1).
/// `None` for a signature without one, such as Ed25519, for which PostgreSQL has none either.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    // Object identifiers of MD5, SHA-1, SHA-256, -384 and -512 with RSA (RFC 8017) and of the latter four with ECDSA (RFC 5758).
    match read.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// What the driver takes for the maker of encryption: it hands the stream back, which is encrypted already.
pub(super) struct Bound(Option<Vec<u8>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Bound {
    type Stream = Encrypted<S>;
    type Error = Infallible;
    type Future = Ready<Result<Encrypted<S>, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Encrypted { stream, binding: self.0 }))
    }
}

/// A stream that is encrypted further down.
pub(super) struct Encrypted<S> {
    stream: S,
    binding: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.binding.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
    use tokio::io::{DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::DatabaseConfig;

    fn acceptor(protocol: &[u8]) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["db".to_owned()]).expect("a name").self_signed(&key).expect("signed");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("some versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a pair");
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    async fn agreed(parameters: &str, client: DuplexStream) -> Result<Protection, String> {
        let url = format!("postgres://u:p@db/d?{parameters}");
        let server = DatabaseConfig::at(url).server().expect("it is right");
        let secured = Secured::agree(Box::new(client), &server.tls, &server.driver, "db").await;
        secured.map(|secured| secured.protection).map_err(|error| error.to_string())
    }

    async fn answered(answer: &[u8], parameters: &str) -> Result<Protection, String> {
        let (client, mut server) = duplex(1_024);
        server.write_all(answer).await.expect("there is room");
        let (outcome, asked) = tokio::join!(agreed(parameters, client), async {
            let mut request = [0; 8];
            server.read_exact(&mut request).await.expect("it asks");
            drop(server);
            request
        });
        assert_eq!(asked, SSL_REQUEST);
        outcome
    }

    #[tokio::test]
    async fn only_an_offer_is_taken_for_one() {
        assert_eq!(answered(b"N", "sslmode=prefer").await, Ok(Protection::Clear));
        for (answer, parameters, says) in [
            (b"N".as_slice(), "sslmode=require", "does not offer TLS"),
            (b"E", "sslmode=prefer", "not PostgreSQL's"),
            (b"HTTP", "sslmode=require", "0x48"),
            (b"", "sslmode=require", "ended"),
            // What comes in clear behind the offer is not taken for the server's, encrypted.
            (b"SR\0\0\0\x08\0\0\0\0", "sslmode=require", "the TLS handshake failed"),
            (b"SR\0\0\0\x08\0\0\0\0", "sslmode=prefer", "the TLS handshake failed"),
        ] {
            let refused = answered(answer, parameters).await.expect_err(parameters);
            assert!(refused.contains(says), "{answer:?}: {refused}");
        }
    }

    /// As PostgreSQL does since version 17: no message asks for encryption, and the protocol is named within it.
    #[tokio::test]
    async fn direct_negotiation_names_the_protocol() {
        for (protocol, expected) in [(ALPN, true), (b"http/1.1".as_slice(), false)] {
            let (client, server) = duplex(16 * 1_024);
            let acceptor = acceptor(protocol);
            // The server's side may fail once more when the client is gone, which has what it wanted.
            let (outcome, _) =
                tokio::join!(agreed("sslmode=require&sslnegotiation=direct", client), acceptor.accept(server));
            assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
        }
    }

    /// rcgen signs with ECDSA and SHA-256 by default.
    #[test]
    fn binding_is_the_hash_that_the_certificates_signature_uses() {
        let key = KeyPair::generate().expect("a key");
        let made = |key: &KeyPair| {
            CertificateParams::new(["db".to_owned()]).expect("a name").self_signed(key).expect("signed")
        };
        let certificate = made(&key);
        assert_eq!(end_point(certificate.der()), Some(Sha256::digest(certificate.der()).to_vec()));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let certificate = made(&key);
        assert_eq!(end_point(certificate.der()), Some(Sha384::digest(certificate.der()).to_vec()));
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        assert_eq!(end_point(made(&key).der()), None);
        assert_eq!(end_point(b"no certificate"), None);
    }
}
