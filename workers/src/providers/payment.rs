//! The interface to payment providers.

use futures::future::BoxFuture;
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

/// A request to charge an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRequest {
    /// Requests with the same key are one charge, however many times and by whichever process they are made.
    pub idempotency_key: String,
    /// The order's id, for the provider's records.
    pub reference: Uuid,
    /// The provider's name for the payment method, such as `pm_card_visa`. Not a card number.
    pub method: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A provider's final decision about a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The customer was charged.
    Succeeded {
        /// The provider's name for the charge.
        charge_id: String,
    },
    /// The customer's bank or the provider declined.
    Declined {
        /// The reason as a word, such as `card_declined`.
        reason: String,
    },
    /// The charge was voided before it happened; see [`PaymentProvider::void`].
    Voided,
}

/// A request to prevent a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidRequest {
    /// The idempotency key of the charge.
    pub idempotency_key: String,
    /// The order's id, for the provider's records.
    pub reference: Uuid,
    /// The amount of the charge in minor units, for providers that must create a charge in order to void it.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// The final state of a charge after a request to void it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoidOutcome {
    /// The charge did not happen and never will: later requests for it return [`ChargeOutcome::Voided`].
    NotCharged,
    /// The charge had already happened.
    Charged {
        /// The provider's name for the charge.
        charge_id: String,
    },
}

/// A request to refund a charge in full.
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
    /// Charges once per idempotency key. A repeated request returns the outcome of the first. If the future is dropped,
    /// the charge may or may not happen: retry with the same key.
    ///
    /// # Errors
    /// See [`ProviderError`]. Permanent if the key was used with another reference, method, amount or currency.
    fn charge(&self, request: ChargeRequest) -> BoxFuture<'_, Result<ChargeOutcome, ProviderError>>;

    /// Determines whether a charge has happened, even if its answer was lost. If it has not, it never will, even if a
    /// request for it is in flight now.
    ///
    /// # Errors
    /// See [`ProviderError`].
    fn void(&self, request: VoidRequest) -> BoxFuture<'_, Result<VoidOutcome, ProviderError>>;

    /// Refunds a charge once per idempotency key, and returns the provider's name for the refund. If the future is
    /// dropped, the refund may or may not happen: retry with the same key.
    ///
    /// # Errors
    /// See [`ProviderError`]. Permanent if there is no such charge of this amount.
    fn refund(&self, request: RefundRequest) -> BoxFuture<'_, Result<String, ProviderError>>;

    /// Returns whether an order's payment intent is stored before the provider charges it. If so, an order without an
    /// intent can be voided by storing that fact, without a call to the provider.
    fn remembers(&self) -> bool {
        false
    }
}
