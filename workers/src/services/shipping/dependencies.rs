//! The dependencies of the shipping service's handlers: the carrier.

use std::sync::Arc;

use orderflow_service::{
    call_guard::{CallGuard, Guarded},
    config::{Setting, Source},
    service::{Dependencies, SetupError},
    store::Database,
};

use super::settings::{CarrierChoice, CarrierConfig, SETTINGS};
use crate::providers::{SimulatedCarrier, carrier::Carrier};

/// The dependencies of the shipping service's handlers.
pub struct ShippingDependencies {
    /// Ships the parcels.
    pub carrier: Guarded<dyn Carrier>,
}

impl Dependencies for ShippingDependencies {
    type Settings = CarrierConfig;

    const SETTINGS: &'static [&'static Setting] = SETTINGS;

    fn read(source: &Source) -> Option<CarrierConfig> {
        CarrierConfig::read(source)
    }

    fn connect(config: CarrierConfig, _: &Database) -> Result<Self, SetupError> {
        let carrier: Arc<dyn Carrier> = match config.carrier {
            CarrierChoice::Simulated => Arc::new(SimulatedCarrier),
        };
        Ok(Self { carrier: Guarded::by(CallGuard::new("carrier", "carrier", config.guard), carrier) })
    }

    fn guards(&self) -> Vec<Arc<CallGuard>> {
        vec![Arc::clone(&self.carrier.guard)]
    }
}
