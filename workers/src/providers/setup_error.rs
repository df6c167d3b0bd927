//! Errors in the settings of providers.

use std::path::PathBuf;

/// Why a provider cannot be created: a setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    /// The directory for mails cannot be created.
    #[error("MAIL: cannot create the directory {}: {source}", directory.display())]
    MailDirectory {
        /// The configured directory.
        directory: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The simulated payment provider's own database cannot be used.
    #[error("SIMULATOR_DATABASE_URL cannot be used: {0}")]
    Ledger(#[source] diesel::ConnectionError),
    /// The HTTP client for Stripe cannot be created.
    #[error("PAYMENT_PROVIDER=stripe: cannot create an HTTP client")]
    Stripe(#[source] reqwest::Error),
    /// The mail server's URL cannot be used. It contains a password, so it is not shown.
    #[error("SMTP_URL: {expected}")]
    SmtpUrl {
        /// What a valid setting requires.
        expected: &'static str,
    },
}
