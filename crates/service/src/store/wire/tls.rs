//! Encrypts a connection to PostgreSQL below its protocol. The driver can do that too, but we could then read only
//! encrypted bytes.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    sync::Arc,
};

use rustls::{ProtocolVersion, pki_types::ServerName};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_postgres::{
    Config,
    config::SslNegotiation,
    tls::{TlsConnect, TlsStream},
};
use tokio_rustls::TlsConnector;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::{self, PostgresTls},
    tls::{self, LoadError, Roots, Verification},
};

/// The request for TLS: a message of eight bytes with the number 80877103 (PostgreSQL's documentation, 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The protocol name (ALPN) that `sslnegotiation=direct` requires.
const ALPN: &[u8] = b"postgresql";

/// A connection's bytes, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The connection ended, or nothing arrived.
    #[error("the connection ended before it was encrypted: {0}")]
    Ended(io::Error),
    /// The server has no certificate, or someone in between claims so.
    #[error(
        "the server does not offer TLS, which sslmode={0} requires: set ssl = on there. Only this machine and hosts in PLAINTEXT_HOSTS \
         may be reached without TLS"
    )]
    NotOffered(config::SslMode),
    /// The answer is not one of PostgreSQL's.
    #[error("the answer is not PostgreSQL's: its first byte is {0:#04x}")]
    NoPostgres(u8),
    /// The server hung up at the handshake, which it took for a message of its own protocol.
    #[error(
        "the server ended the connection, as PostgreSQL before version 17 does with sslnegotiation=direct: remove that parameter for an \
         older server ({0})"
    )]
    NotDirect(io::Error),
    /// A file that the address names is unusable.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// No certificate can name this host.
    #[error("no certificate can name the host {0}")]
    Name(String),
    /// The handshake failed, mostly because of a certificate.
    #[error("the TLS handshake failed (sslmode={mode}): {why}")]
    Handshake {
        /// The requested mode.
        mode: config::SslMode,
        /// What failed.
        why: String,
    },
}

/// How a connection is protected from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Not needed: a Unix socket stays on this machine.
    Socket,
    /// Not at all.
    Clear,
    /// By TLS.
    Tls {
        /// Such as `TLS 1.3`.
        version: &'static str,
        /// How the server was verified.
        verification: Verification,
        /// The roots that it was verified against.
        roots: Roots,
        /// Whether we had a client certificate.
        has_identity: bool,
    },
}

/// A stream to the server, and what the driver must know about it.
pub(super) struct Secured {
    pub(super) stream: Box<dyn Stream>,
    pub(super) protection: Protection,
    /// The channel binding: ties the password's proof to the server's certificate.
    pub(super) binding: Option<Vec<u8>>,
}

impl Secured {
    /// Returns the stream unchanged.
    pub(super) fn plain(stream: Box<dyn Stream>, protection: Protection) -> Self {
        Self { stream, protection, binding: None }
    }

    /// Encrypts the stream as the address requests. `host` is the name that the server's certificate must have.
    ///
    /// # Errors
    /// Fails if encryption fails; nothing confidential has been sent by then.
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
            // The settings accept `prefer` only for hosts that may be reached without encryption.
            if tls.is_required() {
                return Err(TlsError::NotOffered(tls.mode));
            }
            return Ok(Self::plain(stream, Protection::Clear));
        }
        let client = tls.client.load(is_direct.then_some(ALPN))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(|error| {
            if is_direct && has_hung_up(&error) {
                return TlsError::NotDirect(error);
            }
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
}

fn has_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Asks whether the server encrypts. Reads exactly the one byte of its answer: anything that an attacker appended would
/// otherwise count as encrypted (CVE-2021-23222).
async fn is_offered(stream: &mut Box<dyn Stream>) -> Result<bool, TlsError> {
    stream.write_all(&SSL_REQUEST).await.map_err(TlsError::Ended)?;
    stream.flush().await.map_err(TlsError::Ended)?;
    match stream.read_u8().await.map_err(TlsError::Ended)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        other => Err(TlsError::NoPostgres(other)),
    }
}

/// Returns the hash of the server's certificate, by its signature's hash function; weaker ones are replaced by SHA-256
/// (RFC 5929, 4.1). `None` for signatures without one, such as Ed25519; PostgreSQL has no binding for them either.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    // Object identifiers of MD5, SHA-1, SHA-256, SHA-384 and SHA-512 with RSA (RFC 8017), and of the last four with
    // ECDSA (RFC 5758).
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

/// The driver's TLS connector: returns the stream unchanged, because TLS is below it, if there is any.
pub(super) struct Passthrough;

impl<S: TlsStream + Unpin> TlsConnect<S> for Passthrough {
    type Stream = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
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
        let server = DatabaseConfig::at(url).server().expect("a valid URL");
        let secured = Secured::agree(Box::new(client), &server.tls, &server.driver, "db").await;
        secured.map(|secured| secured.protection).map_err(|error| error.to_string())
    }

    async fn answered(answer: &[u8], parameters: &str) -> Result<Protection, String> {
        let (client, mut server) = duplex(1_024);
        server.write_all(answer).await.expect("there is room");
        let (outcome, asked) = tokio::join!(agreed(parameters, client), async {
            let mut request = [0; 8];
            server.read_exact(&mut request).await.expect("a TLS request");
            drop(server);
            request
        });
        assert_eq!(asked, SSL_REQUEST);
        outcome
    }

    #[tokio::test]
    async fn only_an_offer_of_tls_counts_as_one() {
        assert_eq!(answered(b"N", "sslmode=prefer").await, Ok(Protection::Clear));
        for (answer, parameters, says) in [
            (b"N".as_slice(), "sslmode=require", "does not offer TLS"),
            (b"E", "sslmode=prefer", "not PostgreSQL's"),
            (b"HTTP", "sslmode=require", "0x48"),
            (b"", "sslmode=require", "ended"),
            // Bytes in plaintext after the offer do not count as the server's encrypted data.
            (b"SR\0\0\0\x08\0\0\0\0", "sslmode=require", "the TLS handshake failed"),
            (b"SR\0\0\0\x08\0\0\0\0", "sslmode=prefer", "the TLS handshake failed"),
        ] {
            let refused = answered(answer, parameters).await.expect_err(parameters);
            assert!(refused.contains(says), "{answer:?}: {refused}");
        }
    }

    /// As in PostgreSQL since version 17: no message requests encryption, and the handshake names the protocol.
    #[tokio::test]
    async fn direct_negotiation_names_the_protocol() {
        for (protocol, expected) in [(ALPN, true), (b"http/1.1".as_slice(), false)] {
            let (client, server) = duplex(16 * 1_024);
            let acceptor = acceptor(protocol);
            // The server's side may fail once the client has what it wanted and is gone.
            let (outcome, _) =
                tokio::join!(agreed("sslmode=require&sslnegotiation=direct", client), acceptor.accept(server));
            assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn older_server_is_named_as_the_cause_when_it_hangs_up() {
        let (client, server) = duplex(16 * 1_024);
        drop(server);
        let refused = agreed("sslmode=require&sslnegotiation=direct", client).await.expect_err("nobody answers");
        assert!(refused.contains("before version 17") && refused.contains("remove that parameter"), "{refused}");
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
