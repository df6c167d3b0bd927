//! Stripe, through its PaymentIntents API.
//!
//! A customer is never charged twice because an order has one payment intent, which can succeed only once. It is
//! created unconfirmed, stored, and only then confirmed. After an unknown outcome that intent is read; no other is
//! created. Idempotency keys could not ensure that: Stripe forgets them after a day, and repeats a stored 500 until
//! then.

mod answers;
mod api;
mod api_error;
mod charge;
mod intent;
mod refund;
mod refusal;
mod settings;

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

pub use settings::{STRIPE_API_BASE, STRIPE_SECRET_KEY, StripeConfig};

use answers::Verdict;
use api::{Api, NewIntent};
use intent::Intent;
use refusal::Refusal;

use super::{
    ProviderSetupError,
    payment::{ChargeOutcome, ChargeRequest, PaymentProvider, RefundRequest, VoidOutcome, VoidRequest},
};

/// Stores the payment intent of each order.
pub trait IntentMemory: Send + Sync {
    /// Returns the order's intent, if one is stored.
    ///
    /// # Errors
    /// Fails if the memory is unavailable.
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, NoMemory>>;

    /// Stores this intent, or the value of [`given_up`], durably, unless the order already has one. Returns the stored
    /// one.
    ///
    /// # Errors
    /// Fails if the intent cannot be stored, or it is uncertain whether it was.
    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, NoMemory>>;
}

/// The memory is unavailable. It has logged the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order's payment intent cannot be read or stored at the moment")]
pub struct NoMemory;

impl From<NoMemory> for ProviderError {
    /// The provider is available; the call waits for our own database.
    fn from(error: NoMemory) -> Self {
        Self::transient(error.to_string())
    }
}

/// Stripe.
pub struct Stripe {
    api: Api,
    memory: Arc<dyn IntentMemory>,
}

impl Stripe {
    /// Returns a client. It sends nothing yet.
    ///
    /// # Errors
    /// Fails if no HTTP client can be created.
    pub fn new(config: &StripeConfig, memory: Arc<dyn IntentMemory>) -> Result<Self, ProviderSetupError> {
        Ok(Self { api: Api::new(config)?, memory })
    }

    /// Returns the current state of the order's intent. Creates and stores one if needed.
    async fn intent_of(&self, order: Uuid, new: &NewIntent<'_>) -> Result<Of, ProviderError> {
        if let Some(known) = self.memory.recall(order).await? {
            return self.known(order, &known).await;
        }
        let made = match self.make(new).await {
            Ok(made) => made,
            Err(refusal) => match refusal.declined() {
                Some(reason) => return Ok(Of::Refused(reason.to_owned())),
                None => return Err(refusal.into()),
            },
        };
        let remembered = self.memory.remember(order, made.id.clone()).await?;
        if remembered == made.id {
            return Ok(Of::Order(made));
        }
        // Another process was faster. Our intent is not confirmed, so it is harmless even if it cannot be cancelled.
        drop(self.api.cancel(&made.id, "duplicate").await);
        self.known(order, &remembered).await
    }

    async fn known(&self, order: Uuid, intent: &str) -> Result<Of, ProviderError> {
        if intent == given_up(order) { Ok(Of::GivenUp) } else { Ok(Of::Order(self.api.retrieve(intent).await?)) }
    }

    /// Creates an intent without confirming it. The first key keeps retries from creating many. If that key is
    /// unusable (a stored error, other parameters, a request in progress), the intent gets a random one. A superfluous
    /// intent is harmless as long as it is not confirmed.
    async fn make(&self, new: &NewIntent<'_>) -> Result<Intent, Refusal> {
        match self.api.create(new, new.key).await {
            Err(refused) if refused.verdict == Verdict::NewKey => {
                let key = format!("{}-{}", new.key, Uuid::now_v7().simple());
                self.api.create(new, &key).await
            }
            made => made,
        }
    }
}

/// The payment intent of an order, if any.
enum Of {
    /// The order has this intent.
    Order(Intent),
    /// The order has no intent and never will: it was cancelled before Stripe was called.
    GivenUp,
    /// The order has no intent: Stripe refuses this amount, for this reason.
    Refused(String),
}

/// Returns the value to store instead of an intent if an order was cancelled before it had one. Stripe's own ids begin
/// with `pi_`.
#[must_use]
pub fn given_up(order: Uuid) -> String {
    format!("voided-{order}")
}

impl PaymentProvider for Stripe {
    fn charge(&self, request: ChargeRequest) -> BoxFuture<'_, Result<ChargeOutcome, ProviderError>> {
        self.charge_once(request).boxed()
    }

    fn void(&self, request: VoidRequest) -> BoxFuture<'_, Result<VoidOutcome, ProviderError>> {
        self.void_for_good(request).boxed()
    }

    fn refund(&self, request: RefundRequest) -> BoxFuture<'_, Result<String, ProviderError>> {
        self.refund_once(request).boxed()
    }

    fn remembers(&self) -> bool {
        true
    }
}
