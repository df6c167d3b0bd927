//! This process's copy of the catalogue, refreshed every second.
//!
//! A changed price or stock level takes effect here about a second later, or when an unavailable database recovers. A
//! price is binding once the order is accepted. A stock level is only a hint that spares customers an order that would
//! be cancelled: the inventory service decides.

use std::{collections::HashMap, sync::Arc, time::Duration};

use orderflow_service::{
    periodic,
    store::{ANSWER_WITHIN, Database, StoreError},
    telemetry,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::stripe::{self, NotChargeable},
    payment_kind::PaymentKind,
    store::catalogue::{self, Product},
};

/// The maximum age of the copy, plus the time that a read takes.
const REFRESH: Duration = Duration::from_secs(1);

/// The products at one point in time.
#[derive(Debug, Default)]
pub struct Catalogue {
    products: Vec<Product>,
    places: HashMap<String, usize>,
    charged_by: PaymentKind,
}

impl Catalogue {
    /// Creates a catalogue of these products.
    #[must_use]
    pub fn new(products: Vec<Product>) -> Self {
        let places = products.iter().enumerate().map(|(place, product)| (product.sku.clone(), place)).collect();
        Self { products, places, charged_by: PaymentKind::default() }
    }

    /// Returns the same catalogue, with this payment provider.
    #[must_use]
    pub fn charged_by(self, charged_by: PaymentKind) -> Self {
        Self { charged_by, ..self }
    }

    /// Checks whether the provider can charge this total.
    ///
    /// # Errors
    /// Returns why it cannot be charged.
    pub fn can_charge(&self, total: i64, currency: &str) -> Result<(), NotChargeable> {
        stripe::can_be_paid(self.charged_by, total, currency)
    }

    /// Returns the product with this SKU.
    #[must_use]
    pub fn get(&self, sku: &str) -> Option<&Product> {
        self.places.get(sku).and_then(|place| self.products.get(*place))
    }

    /// Returns all products, in the order of the shop's page.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        &self.products
    }
}

/// The current copy of the catalogue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatalogueCache(watch::Receiver<Option<Arc<Catalogue>>>);

impl CatalogueCache {
    /// Starts refreshing on the current runtime, until `stop`.
    #[must_use]
    pub fn start(database: Database, charged_by: PaymentKind, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(refresh(database, charged_by, sender, stop));
        Self(receiver)
    }

    /// Returns the copy, or `None` until the database is first reached.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Catalogue>> {
        self.0.borrow().clone()
    }
}

async fn refresh(
    database: Database,
    charged_by: PaymentKind,
    current: watch::Sender<Option<Arc<Catalogue>>>,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        match read(&database).await {
            Ok(products) => {
                failing = false;
                replace(&current, products, charged_by);
            }
            Err(error) => {
                // The gate already logs that the database is unavailable.
                if !failing && !error.is_unavailable() {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "the catalogue cannot be read; continuing with the last known copy"
                    );
                }
                failing = true;
            }
        }
        if !periodic::pause(REFRESH, &stop).await {
            return;
        }
    }
}

/// Keeps the current copy if nothing changed, so that what was derived from it stays valid.
fn replace(current: &watch::Sender<Option<Arc<Catalogue>>>, products: Vec<Product>, charged_by: PaymentKind) {
    current.send_if_modified(|current| {
        let changed = current.as_ref().is_none_or(|current| current.products != products);
        if changed {
            *current = Some(Arc::new(Catalogue::new(products).charged_by(charged_by)));
        }
        changed
    });
}

async fn read(database: &Database) -> Result<Vec<Product>, StoreError> {
    database.run(ANSWER_WITHIN, async |connection| catalogue::products(connection).await).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mug(price: i64) -> Product {
        let (sku, name, currency) = ("MUG-BLUE".to_owned(), "Blue mug".to_owned(), "EUR".to_owned());
        Product { sku, name, price, currency, available: 5 }
    }

    #[test]
    fn copy_is_kept_until_a_product_changes() {
        let (sender, receiver) = watch::channel(None);
        let copies = [1499, 1499, 1750].map(|price| {
            replace(&sender, vec![mug(price)], PaymentKind::default());
            receiver.borrow().clone().expect("there is a copy")
        });
        assert!(Arc::ptr_eq(&copies[0], &copies[1]));
        assert_eq!(copies[2].products(), [mug(1750)]);
    }
}
