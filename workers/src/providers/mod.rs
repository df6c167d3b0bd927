//! The outside world behind traits: payment provider, carrier, mail.
//!
//! A provider knows nothing of orders' life cycles. It is handed an idempotency key with every call that has an effect,
//! and promises that a call with the same key has its effect once.

pub mod carrier;
mod file_mailer;
pub mod mail;
pub mod payment;
mod setup_error;
mod simulated_carrier;
mod simulated_payment;
mod simulated_refund;
mod simulated_schema;
mod smtp_mailer;
mod smtp_server;
mod stripe;

use std::sync::Arc;

pub use file_mailer::FileMailer;
pub use orderflow_service::{
    line::{Line, Reached, Turn},
    provider_error::ProviderError,
};
pub use setup_error::ProviderSetupError;
pub use simulated_carrier::SimulatedCarrier;
pub use simulated_payment::SimulatedPayment;
pub use smtp_mailer::SmtpMailer;
pub use stripe::{IntentMemory, NoMemory, Stripe, given_up};

use carrier::Carrier;
use mail::Mailer;
use orderflow_service::{
    config::{CarrierChoice, CarrierConfig, MailConfig, MailTransport, PaymentChoice, PaymentConfig},
    store::Database,
};
use payment::PaymentProvider;

/// Every provider, as the settings choose them. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    /// Who takes the money.
    pub payment: Reached<dyn PaymentProvider>,
    /// Who takes the parcels.
    pub carrier: Reached<dyn Carrier>,
    /// Who takes the mails.
    pub mailer: Reached<dyn Mailer>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

impl Providers {
    /// Sets the providers up; needs a tokio runtime, on which the simulated provider's ledger is written. Nobody is
    /// spoken to yet: one that is down does not keep a worker from starting. `intents` is where the payment service
    /// remembers payment intents, for a provider that has such.
    ///
    /// # Errors
    /// When a setting cannot be used; the error names it.
    pub fn new(
        payment: &PaymentConfig,
        carrier: &CarrierConfig,
        mail: &MailConfig,
        database: &Database,
        intents: Arc<dyn IntentMemory>,
    ) -> Result<Self, ProviderSetupError> {
        let from = mail.from.clone();
        let takes_money: Arc<dyn PaymentProvider> = match &payment.provider {
            PaymentChoice::Simulated { ledger: None } => Arc::new(SimulatedPayment::start(database.clone())),
            PaymentChoice::Simulated { ledger: Some(elsewhere) } => {
                let ledger = Database::new(elsewhere, "simulated payment provider", simulated_payment::CONNECTIONS)
                    .map_err(ProviderSetupError::Ledger)?;
                Arc::new(SimulatedPayment::start(ledger))
            }
            PaymentChoice::Stripe(config) => Arc::new(Stripe::new(config, intents)?),
        };
        let takes_parcels: Arc<dyn Carrier> = match carrier.carrier {
            CarrierChoice::Simulated => Arc::new(SimulatedCarrier),
        };
        let takes_mails: Arc<dyn Mailer> = match &mail.transport {
            MailTransport::Files(directory) => Arc::new(FileMailer::new(directory.clone(), from)?),
            MailTransport::Smtp(server) => Arc::new(SmtpMailer::new(server, from)?),
        };
        Ok(Self {
            payment: Reached::by(Line::new("payment", "payment provider", payment.line), takes_money),
            carrier: Reached::by(Line::new("carrier", "carrier", carrier.line), takes_parcels),
            mailer: Reached::by(Line::new("mail", "mail server", mail.line), takes_mails),
        })
    }

    /// The line to each.
    #[must_use]
    pub fn lines(&self) -> Vec<Arc<Line>> {
        [&self.payment.line, &self.carrier.line, &self.mailer.line].map(Arc::clone).to_vec()
    }
}
