//! `TLS_CA`

use std::{fmt, path::PathBuf, sync::Arc};

use super::setting::{Setting, Source};
use crate::tls;

pub(super) const TLS_CA: Setting = Setting {
    name: "TLS_CA",
    default: None,
    secret: false,
    meaning: "a PEM file with the certificates of your own CAs, trusted in addition to the system's: for RabbitMQ (amqps://), its management API and the mail server; for PostgreSQL use sslrootcert in DATABASE_URL; unset: only the system's",
};

/// The CAs trusted in addition to the system's. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnCa {
    path: PathBuf,
    pem: Arc<str>,
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
            Ok(Self { path, pem: pem.into() })
        })
    }

    /// Returns the certificates, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}
