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
    /// The file is missing, closed to us, or no PEM.
    #[error("{path} cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// What the system or the decoder reports.
        why: String,
    },
    /// The file has nothing of what is needed.
    #[error("{path} has no {what} in PEM")]
    Empty {
        /// Which.
        path: String,
        /// What it lacks.
        what: &'static str,
    },
    /// A certificate that cannot be a root.
    #[error("{path} has a certificate that cannot be used: {source}")]
    Root {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A certificate and a key that are not each other's, or are of a kind that nobody supports.
    #[error("{certificate} and {key} cannot be used together: {source}")]
    Pair {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// The system trusts nobody.
    #[error("this system has no trusted certificates (on Debian they come with the package ca-certificates)")]
    NoSystemRoots,
    /// ring supports both versions of TLS that we use.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Returns the certificates of a file, in their order; at least one.
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

/// Returns the text of a file whose certificates can all be trusted as CAs.
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

/// Returns the first private key of a file, in any of the usual forms, without a password.
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
        // The decoder's other errors quote the file, in which there may be a key.
        _ => LoadError::File { path, why: "it is damaged".to_owned() },
    }
}

/// Returns the certificates that the system trusts, read once in the life of a process: there are a hundred and more.
///
/// # Errors
/// [`LoadError::NoSystemRoots`].
pub(super) fn system() -> Result<&'static [CertificateDer<'static>], LoadError> {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    match SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs).as_slice() {
        [] => Err(LoadError::NoSystemRoots),
        roots => Ok(roots),
    }
}
