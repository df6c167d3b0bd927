//! Who takes the parcels.

use std::sync::Arc;

use orderflow_service::{
    config::{Setting, Source},
    line::{Line, Reached},
    service::{Dependencies, SetupError},
    store::Database,
};

use super::settings::{CarrierChoice, CarrierConfig, SETTINGS};
use crate::providers::{SimulatedCarrier, carrier::Carrier};

/// What the shipping service's handlers are made from.
pub struct ShippingDependencies {
    /// Who takes the parcels.
    pub carrier: Reached<dyn Carrier>,
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
        Ok(Self { carrier: Reached::by(Line::new("carrier", "carrier", config.line), carrier) })
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        vec![Arc::clone(&self.carrier.line)]
    }
}
