//! `CARRIER`, `CARRIER_TIMEOUT`, `CARRIER_CONCURRENCY`

use orderflow_service::config::{GuardConfig, Setting, Source};

const CARRIER: Setting =
    Setting { name: "CARRIER", default: Some("simulated"), secret: false, meaning: "who takes the parcels: simulated" };
const CARRIER_TIMEOUT: Setting = Setting {
    name: "CARRIER_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the carrier may take for an answer, 100ms to 5m; then it is asked again, and gets the same key",
};
const CARRIER_CONCURRENCY: Setting = Setting {
    name: "CARRIER_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the carrier a worker has under way at once, 1 to 1000",
};

/// What this service alone reads.
pub const SETTINGS: &[&Setting] = &[&CARRIER, &CARRIER_TIMEOUT, &CARRIER_CONCURRENCY];

/// The carrier.
#[derive(Debug, Clone)]
pub struct CarrierConfig {
    /// Who it is.
    pub carrier: CarrierChoice,
    /// What is asked of it.
    pub guard: GuardConfig,
}

/// Who takes the parcels.
#[derive(Debug, Clone)]
pub enum CarrierChoice {
    /// Our own stand-in, which refuses one product.
    Simulated,
}

impl CarrierConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let carrier = source.parse(&CARRIER, |text| match text {
            "simulated" => Ok(CarrierChoice::Simulated),
            _ => Err("expected simulated".to_owned()),
        });
        let guard = GuardConfig::read(source, &CARRIER_TIMEOUT, &CARRIER_CONCURRENCY);
        Some(Self { carrier: carrier?, guard: guard? })
    }
}
