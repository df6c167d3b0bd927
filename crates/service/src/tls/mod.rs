//! TLS: one implementation for every connection that leaves this process, and who is trusted at its other end.

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

/// Makes ring the process's cryptography; harmless when called again. Every program calls it before it connects.
pub fn install() {
    // An error means that one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}
