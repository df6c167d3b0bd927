//! Who takes the money.

use std::sync::Arc;

use orderflow_service::{
    config::{Setting, Source},
    line::{Line, Reached},
    service::{Dependencies, SetupError},
    store::Database,
};

use super::{
    Intents,
    settings::{PaymentChoice, PaymentConfig, SETTINGS},
};
use crate::providers::{LEDGER_CONNECTIONS, ProviderSetupError, SimulatedPayment, Stripe, payment::PaymentProvider};

/// What the payment service's handlers are made from.
pub struct PaymentDependencies {
    /// Who takes the money.
    pub provider: Reached<dyn PaymentProvider>,
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
                let ledger = Database::new(elsewhere, "simulated payment provider", LEDGER_CONNECTIONS)
                    .map_err(ProviderSetupError::Ledger)?;
                Arc::new(SimulatedPayment::start(ledger))
            }
            PaymentChoice::Stripe(stripe) => {
                Arc::new(Stripe::new(stripe, Arc::new(Intents::start(database.clone(), config.line.time_out)))?)
            }
        };
        Ok(Self { provider: Reached::by(Line::new("payment", "payment provider", config.line), provider) })
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        vec![Arc::clone(&self.provider.line)]
    }
}
