//! Whoever takes the money.

use futures::future::BoxFuture;
use uuid::Uuid;

use super::ProviderError;

/// What is to be charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRequest {
    /// Requests with the same key are one charge, however often and by whomever they are made.
    pub idempotency_key: String,
    /// The order, for people who look at the provider's side.
    pub reference: Uuid,
    /// The provider's name for the card: `pm_card_visa`. Not a card number.
    pub method: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What a provider decided, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The money is taken.
    Succeeded {
        /// The provider's name for the charge.
        charge_id: String,
    },
    /// The customer's bank or the provider said no.
    Declined {
        /// As a word: `card_declined`.
        reason: String,
    },
}

/// A payment provider.
pub trait PaymentProvider: Send + Sync {
    /// Charges once for each idempotency key; a repeated request gets the first one's outcome. Dropping the future
    /// leaves open whether the charge happens: ask again with the same key.
    ///
    /// # Errors
    /// See [`ProviderError`]. A key that comes again with another reference, method, amount or currency is an error
    /// for good.
    fn charge(&self, request: ChargeRequest) -> BoxFuture<'_, Result<ChargeOutcome, ProviderError>>;
}
