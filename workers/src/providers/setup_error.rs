//! What is wrong with the settings of a provider.

use std::path::PathBuf;

/// A setting that no provider can be made from.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    /// The directory for mails.
    #[error("MAIL: the directory {} cannot be made: {source}", directory.display())]
    MailDirectory {
        /// What was set.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The simulated payment provider's own database.
    #[error("SIMULATOR_DATABASE_URL cannot be used: {0}")]
    Ledger(#[source] diesel::ConnectionError),
    /// The HTTP client for Stripe.
    #[error("PAYMENT_PROVIDER=stripe: no HTTP client can be made")]
    Stripe(#[source] reqwest::Error),
    /// The mail server. The URL holds a password, so it is not shown.
    #[error("SMTP_URL: {expected}")]
    SmtpUrl {
        /// What would be right.
        expected: &'static str,
    },
}
