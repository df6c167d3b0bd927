//! A simulated carrier.

use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::provider_error::ProviderError;
use uuid::{Uuid, uuid};

use super::carrier::{Carrier, Parcel, ShipOutcome};

/// The product that the simulated carrier refuses.
const REFUSED_SKU: &str = "BATTERY-BULK";

/// Distinguishes the tracking numbers from other values derived from the same keys. Generated once at random.
const NAMESPACE: Uuid = uuid!("5f0c9f0e-3a52-4a3b-9d6a-0f1d7a1c6b52");

/// Accepts every parcel except those with bulk batteries. It stores nothing: the answer depends only on the parcel.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedCarrier;

impl Carrier for SimulatedCarrier {
    fn ship(&self, parcel: Parcel) -> BoxFuture<'_, Result<ShipOutcome, ProviderError>> {
        std::future::ready(Ok(decide(&parcel))).boxed()
    }
}

fn decide(parcel: &Parcel) -> ShipOutcome {
    if parcel.contents.iter().any(|content| content.sku == REFUSED_SKU) {
        return ShipOutcome::Refused { reason: "not_shippable".to_owned() };
    }
    ShipOutcome::Accepted { tracking_number: tracking_number(&parcel.idempotency_key) }
}

/// Returns `SIM` and twelve hexadecimal digits, which are 48 bits of a hash. Always the same for the same key.
fn tracking_number(idempotency_key: &str) -> String {
    let hash = Uuid::new_v5(&NAMESPACE, idempotency_key.as_bytes()).simple().to_string().to_uppercase();
    // The thirteenth digit is the UUID's version, so only those before it are used.
    format!("SIM{}", hash.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::carrier::{Address, Content};

    fn parcel(key: &str, skus: &[&str]) -> Parcel {
        Parcel {
            idempotency_key: key.to_owned(),
            reference: Uuid::nil(),
            address: Address {
                name: "Ada Lovelace".to_owned(),
                line1: "12 St James's Square".to_owned(),
                line2: None,
                city: "London".to_owned(),
                postal_code: Some("SW1Y 4JH".to_owned()),
                country: "GB".to_owned(),
                state: None,
                phone: Some("+44 20 7946 0958".to_owned()),
            },
            contents: skus.iter().map(|sku| Content { sku: (*sku).to_owned(), quantity: 1 }).collect(),
        }
    }

    #[tokio::test]
    async fn same_key_returns_the_same_parcel_and_another_key_another() {
        let first = SimulatedCarrier.ship(parcel("a", &["MUG-BLUE"])).await;
        assert_eq!(first, SimulatedCarrier.ship(parcel("a", &["MUG-BLUE"])).await);
        assert_ne!(first, SimulatedCarrier.ship(parcel("b", &["MUG-BLUE"])).await);
    }

    #[test]
    fn tracking_numbers_are_stable_across_versions() {
        assert_eq!(tracking_number("0198f1c2-7c1e-7d30-9b8a-2f6d1c0e4a11"), "SIM8B2E32CD581C");
    }

    #[tokio::test]
    async fn one_refused_product_refuses_the_whole_order() {
        let answer = SimulatedCarrier.ship(parcel("a", &["MUG-BLUE", "BATTERY-BULK"])).await;
        assert_eq!(answer, Ok(ShipOutcome::Refused { reason: "not_shippable".to_owned() }));
    }

    #[test]
    fn debug_output_of_a_parcel_has_no_address() {
        let shown = format!("{:?}", parcel("a", &[]));
        assert!(!shown.contains("Ada") && !shown.contains("London") && !shown.contains("7946"), "{shown}");
    }
}
