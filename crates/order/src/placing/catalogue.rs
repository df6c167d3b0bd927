//! The catalogue as this process knows it: a copy, refreshed every second.
//!
//! So a price or a stock level that someone changed holds here about a second later, longer while the database is
//! away. A price is binding from the moment when the order is accepted; a stock level only spares customers an order
//! that would be cancelled, since the inventory service has the last word.

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

/// How old the copy may get, apart from the time that reading takes.
const REFRESH: Duration = Duration::from_secs(1);

/// The products at one moment.
#[derive(Debug, Default)]
pub struct Catalogue {
    products: Vec<Product>,
    places: HashMap<String, usize>,
    charged_by: PaymentKind,
}

impl Catalogue {
    /// A catalogue of these products.
    #[must_use]
    pub fn new(products: Vec<Product>) -> Self {
        let places = products.iter().enumerate().map(|(place, product)| (product.sku.clone(), place)).collect();
        Self { products, places, charged_by: PaymentKind::default() }
    }

    /// The same, sold by this provider.
    #[must_use]
    pub fn charged_by(self, charged_by: PaymentKind) -> Self {
        Self { charged_by, ..self }
    }

    /// Whether the provider can charge this total.
    ///
    /// # Errors
    /// Why not.
    pub fn can_charge(&self, total: i64, currency: &str) -> Result<(), NotChargeable> {
        stripe::can_be_paid(self.charged_by, total, currency)
    }

    /// The product of this name.
    #[must_use]
    pub fn get(&self, sku: &str) -> Option<&Product> {
        self.places.get(sku).and_then(|place| self.products.get(*place))
    }

    /// All products, in the order of the shop's page.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        &self.products
    }
}

/// The present copy of the catalogue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatalogueCache(watch::Receiver<Option<Arc<Catalogue>>>);

impl CatalogueCache {
    /// Starts to refresh, on the current runtime, until `stop`.
    #[must_use]
    pub fn start(database: Database, charged_by: PaymentKind, stop: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(refresh(database, charged_by, sender, stop));
        Self(receiver)
    }

    /// The copy, or `None` as long as the database was never reached.
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
                current.send_replace(Some(Arc::new(Catalogue::new(products).charged_by(charged_by))));
            }
            Err(error) => {
                // That the database is away is said by the gate already.
                if !failing && !error.is_unavailable() {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "the catalogue cannot be read; going on with what is known of it"
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

async fn read(database: &Database) -> Result<Vec<Product>, StoreError> {
    database.run(ANSWER_WITHIN, async |connection| catalogue::products(connection).await).await
}
