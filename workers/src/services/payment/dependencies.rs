//! The dependencies of the payment service's handlers: the payment provider.

use std::sync::Arc;

use orderflow_service::{
    call_guard::{CallGuard, Guarded},
    config::{Setting, Source},
    service::{Dependencies, SetupError},
    store::Database,
};

use super::{
    Intents,
    settings::{PaymentChoice, PaymentConfig, SETTINGS},
};
use crate::providers::{LEDGER_CONNECTIONS, ProviderSetupError, SimulatedPayment, Stripe, payment::PaymentProvider};

/// The dependencies of the payment service's handlers.
pub struct PaymentDependencies {
    /// Charges and refunds.
    pub provider: Guarded<dyn PaymentProvider>,
}

impl Dependencies for PaymentDependencies {
    type Settings = PaymentConfig;

    const SETTINGS: &'static [&'static Setting] = SETTINGS;

    fn read(source: &Source) -> Option<PaymentConfig> {
        PaymentConfig::read(source)
    }

    fn connect(config: PaymentConfig, database: &Database) -> Result<Self, SetupError> {
        let provider: Arc<dyn PaymentProvider> = match &config.provider {
            PaymentChoice::Simulated { ledger: None } => Arc::new(SimulatedPayment::start(database.clone())),
            PaymentChoice::Simulated { ledger: Some(elsewhere) } => {
                let ledger = Database::by_key(elsewhere, "simulated payment provider", LEDGER_CONNECTIONS)
                    .map_err(ProviderSetupError::Ledger)?;
                Arc::new(SimulatedPayment::start(ledger))
            }
            PaymentChoice::Stripe(stripe) => {
                Arc::new(Stripe::new(stripe, Arc::new(Intents::start(database.clone(), config.guard.time_out)))?)
            }
        };
        Ok(Self { provider: Guarded::by(CallGuard::new("payment", "payment provider", config.guard), provider) })
    }

    fn guards(&self) -> Vec<Arc<CallGuard>> {
        vec![Arc::clone(&self.provider.guard)]
    }
}
