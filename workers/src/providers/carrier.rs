//! The interface to carriers.

use std::fmt;

use futures::future::BoxFuture;
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

/// A parcel for the carrier to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Calls with the same key mean the same parcel.
    pub idempotency_key: String,
    /// The order's id, for the carrier's records.
    pub reference: Uuid,
    /// The recipient's address.
    pub address: Address,
    /// The products in the parcel.
    pub contents: Vec<Content>,
}

/// A recipient's address. Its `Debug` output omits all fields, so that it does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The recipient's name.
    pub name: String,
    /// Street and number.
    pub line1: String,
    /// A second address line, such as the floor.
    pub line2: Option<String>,
    /// The town.
    pub city: String,
    /// The postal code, as the country writes it; some countries have none.
    pub postal_code: Option<String>,
    /// The country, as ISO 3166-1 alpha-2.
    pub country: String,
    /// The state, province or region.
    pub state: Option<String>,
    /// The phone number for questions about the delivery.
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
    /// The product's SKU.
    pub sku: String,
    /// The number of pieces.
    pub quantity: i32,
}

/// A carrier's final decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipOutcome {
    /// The carrier will collect the parcel.
    Accepted {
        /// The number by which the customer can track the parcel.
        tracking_number: String,
    },
    /// The carrier does not ship these products, or not to this address.
    Refused {
        /// The reason as a word, such as `not_shippable`.
        reason: String,
    },
}

/// A carrier.
pub trait Carrier: Send + Sync {
    /// Books a parcel, once per idempotency key. A repeated call returns the outcome of the first.
    ///
    /// # Errors
    /// See [`ProviderError`].
    fn ship(&self, parcel: Parcel) -> BoxFuture<'_, Result<ShipOutcome, ProviderError>>;
}
