//! External providers behind traits: payment, carrier, mail.
//!
//! A provider does not know the life cycle of orders. Every call with an effect carries an idempotency key, and the
//! provider guarantees one effect per key.

pub mod carrier;
mod file_mailer;
pub mod mail;
pub mod payment;
mod setup_error;
mod simulated_carrier;
mod simulated_ledger;
mod simulated_payment;
mod simulated_refund;
mod simulated_schema;
mod smtp_mailer;
mod smtp_server;
mod smtp_settings;
mod stripe;

pub use file_mailer::FileMailer;
pub use orderflow_service::{
    call_guard::{CallGuard, Guarded, ProbePermit},
    provider_error::ProviderError,
};
pub use setup_error::ProviderSetupError;
pub use simulated_carrier::SimulatedCarrier;
pub use simulated_payment::{LEDGER_CONNECTIONS, SimulatedPayment};
pub use smtp_mailer::SmtpMailer;
pub use smtp_settings::{SMTP_URL, SmtpEncryption, SmtpServerConfig};
pub use stripe::{IntentMemory, NoMemory, STRIPE_API_BASE, STRIPE_SECRET_KEY, Stripe, StripeConfig, given_up};
