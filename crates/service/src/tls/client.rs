//! What a client of TLS does: how it verifies the server, and who it is itself.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
};

use super::{
    files::{self, LoadError},
    verifier::Verifier,
};

/// How a server is verified. Whatever it is, the server has to own the key of the certificate that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verification {
    /// Not at all: this keeps listeners out, but not somebody who stands in between and answers.
    Nothing,
    /// Its certificate is valid now and issued by a trusted CA, for whatever host.
    Issuer,
    /// Its certificate names the host too.
    IssuerAndHost,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's.
    System,
    /// Those in a file of PEM, and no others.
    File(PathBuf),
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the CAs that this system trusts"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A client certificate and its key, in files of PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then those that lead from it to the CA.
    pub certificate: PathBuf,
    /// The key, without a password.
    pub key: PathBuf,
}

/// How to speak TLS to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// How the server is verified.
    pub verification: Verification,
    /// Against what. Read only where something is verified.
    pub roots: Roots,
    /// Who we are, where the server wants to know.
    pub identity: Option<Identity>,
}

impl ClientTls {
    /// Reads the files for each connection, so that the next one uses a renewed certificate. Offers `protocol` by ALPN.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(&self, protocol: Option<&[u8]>) -> Result<ClientConfig, LoadError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(LoadError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let (chain, own_key) = (files::certificates(certificate)?, files::key(key)?);
                builder.with_client_auth_cert(chain, own_key).map_err(|source| LoadError::Pair {
                    certificate: certificate.display().to_string(),
                    key: key.display().to_string(),
                    source,
                })?
            }
        };
        // Each connection has a configuration of its own, so there is nothing to resume.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
        Ok(config)
    }

    fn verifier(&self, provider: &CryptoProvider) -> Result<Verifier, LoadError> {
        let mut store = RootCertStore::empty();
        let mut own: Vec<CertificateDer<'static>> = Vec::new();
        match &self.roots {
            _ if self.verification == Verification::Nothing => {}
            Roots::System => {
                // Some of the system's may be of a kind that webpki does not read; the others are enough.
                store.add_parsable_certificates(files::system()?.iter().cloned());
            }
            Roots::File(path) => {
                own = files::certificates(path)?;
                for root in &own {
                    let refused = |source| LoadError::Root { path: path.display().to_string(), source };
                    store.add(root.clone()).map_err(refused)?;
                }
            }
        }
        Ok(Verifier::new(self.verification, store, own, provider.signature_verification_algorithms))
    }
}
