//! The certificate that this process presents to its clients.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use super::{
    Validity,
    files::{self, LoadError},
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How often the files are read again. Certificates are renewed weeks before they expire.
const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// The only protocol of our servers.
const ALPN: &[u8] = b"http/1.1";

/// A certificate that is reloaded when its files change.
pub struct ServerCertificate {
    certificate: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
}

/// Omits the key.
impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Reads both files: the certificate, followed by the chain to the CA; and its key, not encrypted.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, LoadError> {
        let shown = RwLock::new(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), shown })
    }

    /// Returns a server configuration that presents this certificate. A task on the current tokio runtime reads the
    /// files again every ten seconds, for as long as this certificate is in use.
    ///
    /// # Errors
    /// Returns [`LoadError::Setup`].
    pub fn serve(self: &Arc<Self>) -> Result<ServerConfig, LoadError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(LoadError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(Arc::clone(self))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        tokio::spawn(keep_current(Arc::downgrade(self)));
        Ok(config)
    }

    /// Returns how long the current certificate is valid, or `None` if it cannot be parsed.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.current().cert.first().and_then(|certificate| Validity::of(certificate))
    }

    /// Returns the last day on which the current certificate is valid.
    #[must_use]
    pub fn until(&self) -> String {
        self.validity().map_or_else(|| "an unknown date".to_owned(), |validity| validity.last_day())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. Returns whether the certificate has changed.
    fn renew(&self) -> Result<bool, LoadError> {
        let read = read(&self.certificate, &self.key)?;
        // A new key comes with a new certificate, so comparing the certificates is enough.
        if read.cert == self.current().cert {
            return Ok(false);
        }
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(true)
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, LoadError> {
    let chain: Vec<CertificateDer<'static>> = files::certificates(certificate)?;
    let pair = CertifiedKey::from_der(chain, files::key(key)?, &ring::default_provider());
    pair.map(Arc::new).map_err(|source| LoadError::Pair {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    })
}

/// Reloads the certificate periodically. While the files are invalid, or only one of them is replaced, the old
/// certificate stays in use.
async fn keep_current(certificate: Weak<ServerCertificate>) {
    let mut logged = None;
    loop {
        tokio::time::sleep(RENEWED_EVERY).await;
        let Some(certificate) = certificate.upgrade() else { return };
        match certificate.renew() {
            Ok(has_changed) => {
                logged = None;
                if has_changed {
                    tracing::info!(file = %certificate.certificate.display(), "the renewed certificate is in use");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if logged.as_ref() != Some(&error) {
                    tracing::warn!(error, "cannot load the renewed certificate; the previous one stays in use");
                    logged = Some(error);
                }
            }
        }
    }
}

#[derive(Debug)]
struct Shown(Arc<ServerCertificate>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Returns a certificate and its key, in PEM.
    fn made() -> [String; 2] {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(["shop".to_owned()]).expect("a name").self_signed(&key).expect("signed");
        [certificate.pem(), key.serialize_pem()]
    }

    #[test]
    fn renewed_files_are_used_once_both_match() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["shop.crt", "shop.key"].map(|name| directory.path().join(name));
        let write = |number: usize, content: &str| fs::write(&paths[number], content).expect("our own directory");
        let [first, second] = [made(), made()];
        write(0, &first[0]);
        write(1, &first[1]);
        let served = ServerCertificate::load(&paths[0], &paths[1]).expect("a pair");
        let before = served.current().cert.clone();
        assert!(!served.renew().expect("they fit"), "nothing has changed");
        write(0, &second[0]);
        assert!(served.renew().is_err_and(|why| why.to_string().contains("cannot be used together")));
        assert_eq!(served.current().cert, before);
        write(1, "");
        assert!(served.renew().is_err_and(|why| why.to_string().contains("no private key")));
        fs::remove_file(&paths[1]).expect("it is there");
        assert!(served.renew().is_err_and(|why| why.to_string().contains("cannot be read")));
        assert_eq!(served.current().cert, before);
        write(1, &second[1]);
        assert!(served.renew().expect("they fit again"));
        assert_ne!(served.current().cert, before);
    }
}
