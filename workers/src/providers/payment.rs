//! Whoever takes the money.

use futures::future::BoxFuture;
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

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
    /// The charge was given up before it happened; see [`PaymentProvider::void`].
    Voided,
}

/// A charge that is not to happen any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidRequest {
    /// The key of the charge.
    pub idempotency_key: String,
    /// The order, for people who look at the provider's side.
    pub reference: Uuid,
    /// What would be charged, for a provider that has to make a charge in order to void it; minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What became of a charge that is not to happen any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoidOutcome {
    /// It did not happen and never will: whoever asks for it from now on gets [`ChargeOutcome::Voided`].
    NotCharged,
    /// It had happened already.
    Charged {
        /// The provider's name for the charge.
        charge_id: String,
    },
}

/// A charge that is to be given back as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// Requests with the same key are one refund.
    pub idempotency_key: String,
    /// The provider's name for the charge.
    pub charge_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
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

    /// Settles for good whether a charge has happened, also where nobody knows because its answer was lost: it has, or
    /// it never will. Safe against a request for it that is on its way at this moment.
    ///
    /// # Errors
    /// See [`ProviderError`].
    fn void(&self, request: VoidRequest) -> BoxFuture<'_, Result<VoidOutcome, ProviderError>>;

    /// Gives a charge back, once for each idempotency key, and returns the provider's name for the refund. Dropping
    /// the future leaves open whether it happens: ask again with the same key.
    ///
    /// # Errors
    /// See [`ProviderError`]. For good where there is no such charge of that amount.
    fn refund(&self, request: RefundRequest) -> BoxFuture<'_, Result<String, ProviderError>>;

    /// Whether an order that the provider was asked to charge has an intent that is remembered first. One without can then
    /// be voided by remembering that, and the provider need not be called.
    fn remembers(&self) -> bool {
        false
    }
}
