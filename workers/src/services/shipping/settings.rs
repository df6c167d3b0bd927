//! `CARRIER`, `CARRIER_TIMEOUT`, `CARRIER_CONCURRENCY`

use orderflow_service::config::{GuardConfig, Setting, Source};

const CARRIER: Setting =
    Setting { name: "CARRIER", default: Some("simulated"), secret: false, meaning: "the carrier: simulated" };
const CARRIER_TIMEOUT: Setting = Setting {
    name: "CARRIER_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the carrier may take to answer, 100ms to 5m; the call is then retried, with the same idempotency key",
};
const CARRIER_CONCURRENCY: Setting = Setting {
    name: "CARRIER_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the carrier a worker makes concurrently, 1 to 1000",
};

/// The settings that only this service reads.
pub const SETTINGS: &[&Setting] = &[&CARRIER, &CARRIER_TIMEOUT, &CARRIER_CONCURRENCY];

/// The settings of the carrier.
#[derive(Debug, Clone)]
pub struct CarrierConfig {
    /// The carrier.
    pub carrier: CarrierChoice,
    /// The time-out and the concurrency of its calls.
    pub guard: GuardConfig,
}

/// The choice of the carrier.
#[derive(Debug, Clone)]
pub enum CarrierChoice {
    /// The simulated carrier, which refuses one product.
    Simulated,
}

impl CarrierConfig {
    /// Reads the settings. Collects problems in `source`.
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
