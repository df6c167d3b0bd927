//! `TLS_CA`

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::setting::{Setting, Source};
use crate::tls;

pub(super) const TLS_CA: Setting = Setting {
    name: "TLS_CA",
    default: None,
    secret: false,
    meaning: "a PEM file with the certificates of your own CAs, trusted in addition to the system's: for RabbitMQ (amqps://), its management API and the mail server; for PostgreSQL use sslrootcert in DATABASE_URL; unset: only the system's",
};

/// The CAs trusted in addition to the system's. Cheap to clone.
#[derive(Clone)]
pub struct OwnCa {
    path: PathBuf,
    last: Arc<Mutex<Last>>,
}

/// What the file contained when it was last usable.
struct Last {
    pem: Arc<str>,
    /// Why the file has become unusable, as logged.
    logged: Option<String>,
}

/// Without the certificates, which are long.
impl fmt::Debug for OwnCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnCa").field(&self.path).finish()
    }
}

impl fmt::Display for OwnCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl OwnCa {
    /// Reads its variable and the file, if set. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.parse(&TLS_CA, |text| {
            let path = PathBuf::from(text);
            let pem =
                tls::read_authorities(&path).map_err(|error| format!("expected a file of certificates: {error}"))?;
            Ok(Self { path, last: Arc::new(Mutex::new(Last { pem: pem.into(), logged: None })) })
        })
    }

    /// Returns the certificates, in PEM. Reads the file again, so that the next connection trusts a replaced CA. While
    /// the file is unusable, returns the previous certificates and logs the reason once.
    #[must_use]
    pub fn pem(&self) -> Arc<str> {
        let read = tls::read_authorities(&self.path);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(pem) if *pem == *last.pem => last.logged = None,
            Ok(pem) => {
                tracing::info!(file = %self, "TLS_CA has changed; new connections trust the CAs that it now contains");
                *last = Last { pem: pem.into(), logged: None };
            }
            Err(error) => {
                let error = error.to_string();
                if last.logged.as_ref() != Some(&error) {
                    tracing::warn!(error, "cannot load TLS_CA again; the previous CAs stay trusted");
                    last.logged = Some(error);
                }
            }
        }
        Arc::clone(&last.pem)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> String {
        let key = KeyPair::generate().expect("a key");
        CertificateParams::new(["ca".to_owned()]).expect("a name").self_signed(&key).expect("it signs").pem()
    }

    #[test]
    fn replaced_file_is_used_once_it_is_usable() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let (first, second) = (certificate(), certificate());
        fs::write(&path, &first).expect("our own file");
        let setting = ("TLS_CA".to_owned(), path.display().to_string());
        let source: Source = [setting].into_iter().collect();
        let own_ca = OwnCa::read(&source).expect("the file is valid");
        let copy = own_ca.clone();
        assert_eq!(*own_ca.pem(), *first);
        for unusable in ["", "no certificate"] {
            fs::write(&path, unusable).expect("our own file");
            assert_eq!(*own_ca.pem(), *first, "{unusable:?}");
        }
        fs::remove_file(&path).expect("it exists");
        assert_eq!(*own_ca.pem(), *first);
        fs::write(&path, &second).expect("our own file");
        assert_eq!(*own_ca.pem(), *second);
        fs::remove_file(&path).expect("it exists");
        assert_eq!(*copy.pem(), *second, "copies share what was read last");
    }
}
