//! One TLS implementation for every connection that leaves this process.

/// Makes ring the process's cryptography; harmless when called again. Every program calls it before it connects.
pub fn install() {
    // An error means that one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}
