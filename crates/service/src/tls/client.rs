//! The client's side of TLS: how it verifies the server, and how it identifies itself.

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

/// How a server is verified. In every mode the server must own the key of the certificate that it presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verification {
    /// No verification: this prevents eavesdropping, but not an active man in the middle.
    Nothing,
    /// The certificate is valid now and issued by a trusted CA, for any host.
    Issuer,
    /// In addition, the certificate names the host.
    IssuerAndHost,
}

/// Which CAs are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's CAs.
    System,
    /// Only the CAs in a PEM file.
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

/// A client certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by the chain to the CA.
    pub certificate: PathBuf,
    /// The key, not encrypted.
    pub key: PathBuf,
}

/// How to connect to a server with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// How the server is verified.
    pub verification: Verification,
    /// The trusted CAs. Not read if nothing is verified.
    pub roots: Roots,
    /// Our client certificate, if the server requires one.
    pub identity: Option<Identity>,
}

impl ClientTls {
    /// Returns the configuration for one connection. Reads the files each time, so that the next connection uses a
    /// renewed certificate. Offers `protocol` by ALPN.
    ///
    /// # Errors
    /// Fails if a file cannot be used.
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
        // Each connection has its own configuration, so there is no session to resume.
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
                // webpki cannot read some of the system's certificates; the others are enough.
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
