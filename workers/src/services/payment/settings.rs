//! `PAYMENT_PROVIDER`, `PAYMENT_TIMEOUT`, `PAYMENT_CONCURRENCY`, `STRIPE_SECRET_KEY`, `STRIPE_API_BASE`,
//! `SIMULATOR_DATABASE_URL`

use orderflow_order::payment_kind::{PAYMENT_PROVIDER, PaymentKind};
use orderflow_service::config::{DatabaseConfig, GuardConfig, Setting, Source};

use crate::providers::{STRIPE_API_BASE, STRIPE_SECRET_KEY, StripeConfig};

const PAYMENT_TIMEOUT: Setting = Setting {
    name: "PAYMENT_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the payment provider may take for an answer, 100ms to 5m; then it is asked again, and gets the same key",
};
const PAYMENT_CONCURRENCY: Setting = Setting {
    name: "PAYMENT_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the payment provider a worker has under way at once, 1 to 1000",
};
const SIMULATOR_DATABASE_URL: Setting = Setting {
    name: "SIMULATOR_DATABASE_URL",
    default: None,
    secret: true,
    meaning: "the database in which PAYMENT_PROVIDER=simulated keeps its ledger, so that it can be away by itself; unset: that of DATABASE_URL",
};

/// What this service alone reads, but for the choice of the provider: the front end reads that too.
pub const SETTINGS: &[&Setting] = &[
    &PAYMENT_PROVIDER,
    &PAYMENT_TIMEOUT,
    &PAYMENT_CONCURRENCY,
    &STRIPE_SECRET_KEY,
    &STRIPE_API_BASE,
    &SIMULATOR_DATABASE_URL,
];

/// The payment provider.
#[derive(Debug, Clone)]
pub struct PaymentConfig {
    /// Who it is.
    pub provider: PaymentChoice,
    /// What is asked of it.
    pub guard: GuardConfig,
}

/// Who takes the money.
#[derive(Debug, Clone)]
pub enum PaymentChoice {
    /// Our own stand-in with the test cards of the contract.
    Simulated {
        /// Where it keeps its ledger, if not with us.
        ledger: Option<DatabaseConfig>,
    },
    /// Stripe.
    Stripe(StripeConfig),
}

impl PaymentConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let ledger = DatabaseConfig::read_from(source, &SIMULATOR_DATABASE_URL);
        let stripe = StripeConfig::read(source);
        let kind = PaymentKind::read(source);
        let guard = GuardConfig::read(source, &PAYMENT_TIMEOUT, &PAYMENT_CONCURRENCY);
        let provider = match kind? {
            PaymentKind::Simulated => PaymentChoice::Simulated { ledger },
            PaymentKind::Stripe => {
                PaymentChoice::Stripe(source.needed(stripe, &PAYMENT_PROVIDER, &STRIPE_SECRET_KEY)?)
            }
        };
        Some(Self { provider, guard: guard? })
    }
}
