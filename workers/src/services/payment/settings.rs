//! `PAYMENT_PROVIDER`, `PAYMENT_TIMEOUT`, `PAYMENT_CONCURRENCY`, `STRIPE_SECRET_KEY`, `STRIPE_API_BASE`,
//! `SIMULATOR_DATABASE_URL`

use orderflow_order::payment_kind::{PAYMENT_PROVIDER, PaymentKind};
use orderflow_service::config::{DatabaseConfig, GuardConfig, Setting, Source};

use crate::providers::{STRIPE_API_BASE, STRIPE_SECRET_KEY, StripeConfig};

const PAYMENT_TIMEOUT: Setting = Setting {
    name: "PAYMENT_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the payment provider may take to answer, 100ms to 5m; the call is then retried, with the same idempotency key",
};
const PAYMENT_CONCURRENCY: Setting = Setting {
    name: "PAYMENT_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the payment provider a worker makes concurrently, 1 to 1000",
};
const SIMULATOR_DATABASE_URL: Setting = Setting::secret(
    "SIMULATOR_DATABASE_URL",
    "the database in which PAYMENT_PROVIDER=simulated keeps its ledger, so that it can fail independently; unset: that of DATABASE_URL",
);

/// The settings that only this service reads, except for the choice of the provider, which the front end reads too.
pub const SETTINGS: &[&Setting] = &[
    &PAYMENT_PROVIDER,
    &PAYMENT_TIMEOUT,
    &PAYMENT_CONCURRENCY,
    &STRIPE_SECRET_KEY,
    &STRIPE_API_BASE,
    &SIMULATOR_DATABASE_URL,
];

/// The settings of the payment provider.
#[derive(Debug, Clone)]
pub struct PaymentConfig {
    /// The provider.
    pub provider: PaymentChoice,
    /// The time-out and the concurrency of its calls.
    pub guard: GuardConfig,
}

/// The choice of the payment provider.
#[derive(Debug, Clone)]
pub enum PaymentChoice {
    /// The simulated provider, with test cards.
    Simulated {
        /// The database of its ledger, if not ours.
        ledger: Option<DatabaseConfig>,
    },
    /// Stripe.
    Stripe(StripeConfig),
}

impl PaymentConfig {
    /// Reads the settings. Collects problems in `source`.
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
