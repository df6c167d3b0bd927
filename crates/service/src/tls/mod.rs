//! TLS for every connection of this process: the implementation, the trusted CAs and our own certificates.

mod client;
mod failure;
mod files;
mod server;
mod validity;
mod verifier;

pub use client::{ClientTls, Identity, Roots, Verification};
pub use failure::explain;
pub use files::{LoadError, read_authorities};
pub use server::ServerCertificate;
pub use validity::{Opening, Validity, shown};

/// Makes ring the process's cryptography provider. Every program calls this before it connects; later calls have no
/// effect.
pub fn install() {
    // An error means that a provider is already installed.
    drop(rustls::crypto::ring::default_provider().install_default());
}
