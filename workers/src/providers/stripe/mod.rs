//! Stripe, by its PaymentIntents API.
//!
//! What keeps a customer from being charged twice is that an order has one payment intent, which can succeed once. It is
//! made unconfirmed, remembered, and only then confirmed. An attempt whose outcome is unknown is followed by looking at
//! that intent and never by another. Idempotency keys could not do that: Stripe forgets them after a day, and repeats a
//! stored 500 until then.

mod api;
mod charge;
mod intent;
mod refund;
mod refusal;

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use orderflow::config::StripeConfig;
use uuid::Uuid;

use super::{
    ProviderError, ProviderSetupError,
    payment::{ChargeOutcome, ChargeRequest, PaymentProvider, RefundRequest, VoidOutcome, VoidRequest},
};
use api::{Api, NewIntent};
use intent::Intent;

/// What remembers which payment intent is an order's.
pub trait IntentMemory: Send + Sync {
    /// The order's intent, if one is remembered.
    ///
    /// # Errors
    /// When nobody knows at the moment.
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, NoMemory>>;

    /// Remembers this intent unless the order has one already, durably, and returns the one that it has.
    ///
    /// # Errors
    /// When it may or may not be remembered.
    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, NoMemory>>;
}

/// The memory is not there, and has said why in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order's payment intent cannot be looked up or remembered at the moment")]
pub struct NoMemory;

impl From<NoMemory> for ProviderError {
    /// The provider is there; what it is to do waits for our own database.
    fn from(error: NoMemory) -> Self {
        Self::passing(error.to_string())
    }
}

/// Stripe.
pub struct Stripe {
    api: Api,
    memory: Arc<dyn IntentMemory>,
}

impl Stripe {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: &StripeConfig, memory: Arc<dyn IntentMemory>) -> Result<Self, ProviderSetupError> {
        Ok(Self { api: Api::new(config)?, memory })
    }

    /// The order's intent, as it is at the moment; made and remembered where there was none.
    async fn intent_of(&self, order: Uuid, new: &NewIntent<'_>) -> Result<Intent, ProviderError> {
        if let Some(known) = self.memory.recall(order).await? {
            return Ok(self.api.look(&known).await?);
        }
        let made = self.make(new).await?;
        let remembered = self.memory.remember(order, made.id.clone()).await?;
        if remembered == made.id {
            return Ok(made);
        }
        // Somebody else was faster. Ours is not confirmed, so it is untidy at worst.
        drop(self.api.cancel(&made.id, "duplicate").await);
        Ok(self.api.look(&remembered).await?)
    }

    /// A new intent, not confirmed. The usual key keeps attempts from making many; where it is of no use any more (a
    /// stored error, other parameters, a request that still runs) the intent gets a key of its own. An intent too many
    /// is harmless as long as nobody confirms it.
    async fn make(&self, new: &NewIntent<'_>) -> Result<Intent, ProviderError> {
        match self.api.create(new, new.key).await {
            Err(refused) if refused.is_about_the_key() => {
                let key = format!("{}-{}", new.key, Uuid::now_v7().simple());
                Ok(self.api.create(new, &key).await?)
            }
            made => Ok(made?),
        }
    }
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
}
