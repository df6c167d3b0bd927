//! Whoever takes the parcels.

use std::fmt;

use futures::future::BoxFuture;
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

/// A parcel that the carrier is to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Calls with the same key are one parcel.
    pub idempotency_key: String,
    /// The order, for people who look at the carrier's side.
    pub reference: Uuid,
    /// Where it goes.
    pub address: Address,
    /// What is in it.
    pub contents: Vec<Content>,
}

/// Where a parcel goes. It does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Who gets it.
    pub name: String,
    /// Street and number.
    pub line1: String,
    /// What else there is to say.
    pub line2: Option<String>,
    /// The town.
    pub city: String,
    /// As the country writes it; some countries have none.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// State, province or region.
    pub state: Option<String>,
    /// Where to call when nobody opens.
    pub phone: Option<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

/// A product in a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The product.
    pub sku: String,
    /// Pieces.
    pub quantity: i32,
}

/// What a carrier decided, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipOutcome {
    /// The parcel will be fetched.
    Accepted {
        /// What the customer can follow it by.
        tracking_number: String,
    },
    /// It carries no such thing, or not there.
    Refused {
        /// As a word: `not_shippable`.
        reason: String,
    },
}

/// A carrier.
pub trait Carrier: Send + Sync {
    /// Hands a parcel over, once for each idempotency key; a repeated call gets the first one's outcome.
    ///
    /// # Errors
    /// See [`ProviderError`].
    fn ship(&self, parcel: Parcel) -> BoxFuture<'_, Result<ShipOutcome, ProviderError>>;
}
