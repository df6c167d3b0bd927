//! Our own stand-in for a carrier.

use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::provider_error::ProviderError;
use uuid::{Uuid, uuid};

use super::carrier::{Carrier, Parcel, ShipOutcome};

/// The product that it does not carry.
const REFUSED_SKU: &str = "BATTERY-BULK";

/// Sets its tracking numbers apart from whatever else is derived from the same keys. Drawn once at random.
const NAMESPACE: Uuid = uuid!("5f0c9f0e-3a52-4a3b-9d6a-0f1d7a1c6b52");

/// Takes every parcel but those with bulk batteries, and remembers nothing: its answer follows from the parcel alone.
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

/// `SIM` and twelve hexadecimal digits, 48 bits of a hash: the same for the same key, for ever.
fn tracking_number(idempotency_key: &str) -> String {
    let hash = Uuid::new_v5(&NAMESPACE, idempotency_key.as_bytes()).simple().to_string().to_uppercase();
    // Only the digits before the thirteenth, which is the UUID's version.
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
    async fn a_repeated_call_gives_the_same_parcel_and_another_key_another() {
        let first = SimulatedCarrier.ship(parcel("a", &["MUG-BLUE"])).await;
        assert_eq!(first, SimulatedCarrier.ship(parcel("a", &["MUG-BLUE"])).await);
        assert_ne!(first, SimulatedCarrier.ship(parcel("b", &["MUG-BLUE"])).await);
    }

    #[test]
    fn tracking_numbers_never_change_their_form() {
        assert_eq!(tracking_number("0198f1c2-7c1e-7d30-9b8a-2f6d1c0e4a11"), "SIM8B2E32CD581C");
    }

    #[tokio::test]
    async fn one_refused_product_refuses_the_whole_order() {
        let answer = SimulatedCarrier.ship(parcel("a", &["MUG-BLUE", "BATTERY-BULK"])).await;
        assert_eq!(answer, Ok(ShipOutcome::Refused { reason: "not_shippable".to_owned() }));
    }

    #[test]
    fn an_address_does_not_show_in_logs() {
        let shown = format!("{:?}", parcel("a", &[]));
        assert!(!shown.contains("Ada") && !shown.contains("London") && !shown.contains("7946"), "{shown}");
    }
}
