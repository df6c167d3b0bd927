//! Certificates and keys in PEM files.

use std::{fs, io, path::Path, sync::OnceLock};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is missing, not readable or not PEM.
    #[error("{path} cannot be read: {why}")]
    File {
        /// The file.
        path: String,
        /// The error of the system or the decoder.
        why: String,
    },
    /// The file contains no item of the required type.
    #[error("{path} has no {what} in PEM")]
    Empty {
        /// The file.
        path: String,
        /// The required item.
        what: &'static str,
    },
    /// A certificate cannot be used as a root.
    #[error("{path} has a certificate that cannot be used: {source}")]
    Root {
        /// The file.
        path: String,
        /// The error.
        source: rustls::Error,
    },
    /// The certificate and the key do not match, or the key's type is not supported.
    #[error("{certificate} and {key} cannot be used together: {source}")]
    Pair {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// The error.
        source: rustls::Error,
    },
    /// The system has no trusted CAs.
    #[error("this system has no trusted certificates (on Debian they come with the package ca-certificates)")]
    NoSystemRoots,
    /// TLS cannot be set up. This should not happen: ring supports both TLS versions that we use.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Returns the certificates of a file, in order; at least one.
///
/// # Errors
/// See [`LoadError`].
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let unreadable = |error| unreadable(path, "certificate", error);
    let read = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Returns the text of a file after checking that all its certificates can be trusted as CAs.
///
/// # Errors
/// See [`LoadError`].
pub fn read_authorities(path: &Path) -> Result<String, LoadError> {
    for root in certificates(path)? {
        let refused = |source| LoadError::Root { path: path.display().to_string(), source };
        RootCertStore::empty().add(root).map_err(refused)?;
    }
    let unreadable = |error: io::Error| LoadError::File { path: path.display().to_string(), why: error.to_string() };
    fs::read_to_string(path).map_err(unreadable)
}

/// Returns the first private key of a file, in any of the usual formats, not encrypted.
///
/// # Errors
/// See [`LoadError`].
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, "private key without a password", error))
}

fn unreadable(path: &Path, what: &'static str, error: pem::Error) -> LoadError {
    let path = path.display().to_string();
    match error {
        pem::Error::NoItemsFound => LoadError::Empty { path, what },
        pem::Error::Io(error) => LoadError::File { path, why: error.to_string() },
        // The decoder's other errors quote the file, which may contain a key.
        _ => LoadError::File { path, why: "it is not valid PEM".to_owned() },
    }
}

/// Returns the certificates that the system trusts. They are read once per process, since there are more than a
/// hundred.
///
/// # Errors
/// Returns [`LoadError::NoSystemRoots`].
pub(super) fn system() -> Result<&'static [CertificateDer<'static>], LoadError> {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    match SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs).as_slice() {
        [] => Err(LoadError::NoSystemRoots),
        roots => Ok(roots),
    }
}
