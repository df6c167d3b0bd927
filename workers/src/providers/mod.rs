//! The outside world behind traits: payment provider, carrier, mail.
//!
//! A provider knows nothing of orders' life cycles. It is handed an idempotency key with every call that has an effect,
//! and promises that a call with the same key has its effect once.

pub mod carrier;
mod error;
mod file_mailer;
pub mod mail;
pub mod payment;
mod simulated_carrier;
mod simulated_payment;
mod simulated_refund;
mod smtp_mailer;
mod smtp_server;

use std::sync::Arc;

use orderflow::{
    config::{CarrierConfig, MailConfig, MailTransport, PaymentConfig},
    store::Database,
};

pub use error::{ProviderError, ProviderSetupError, within};
pub use file_mailer::FileMailer;
pub use simulated_carrier::SimulatedCarrier;
pub use simulated_payment::SimulatedPayment;
pub use smtp_mailer::SmtpMailer;

use carrier::Carrier;
use mail::Mailer;
use payment::PaymentProvider;

/// Every provider, as the settings choose them. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    /// Who takes the money.
    pub payment: Arc<dyn PaymentProvider>,
    /// Who takes the parcels.
    pub carrier: Arc<dyn Carrier>,
    /// Who takes the mails.
    pub mailer: Arc<dyn Mailer>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

impl Providers {
    /// Sets the providers up; needs a tokio runtime, on which the simulated provider's ledger is written. No mail
    /// server is spoken to yet: one that is down does not keep a worker from starting.
    ///
    /// # Errors
    /// When a setting cannot be used; the error names it.
    pub fn new(
        payment: &PaymentConfig,
        carrier: &CarrierConfig,
        mail: &MailConfig,
        database: &Database,
    ) -> Result<Self, ProviderSetupError> {
        let from = mail::mailbox(&mail.from)?;
        Ok(Self {
            payment: match payment {
                PaymentConfig::Simulated => Arc::new(SimulatedPayment::start(database.clone())),
            },
            carrier: match carrier {
                CarrierConfig::Simulated => Arc::new(SimulatedCarrier),
            },
            mailer: match &mail.transport {
                MailTransport::Files(directory) => Arc::new(FileMailer::new(directory.clone(), from)?),
                MailTransport::Smtp(url) => Arc::new(SmtpMailer::new(url, from)?),
            },
        })
    }
}
