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

use std::{future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use orderflow::{config::StripeConfig, store::StoreError, telemetry};
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
    /// Those of the database.
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, StoreError>>;

    /// Remembers this intent unless the order has one already, durably, and returns the one that it has.
    ///
    /// # Errors
    /// Those of the database.
    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, StoreError>>;
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
        let memory = Arc::clone(&self.memory);
        if let Some(known) = finished(async move { memory.recall(order).await }).await? {
            return Ok(self.api.look(&known).await?);
        }
        let made = self.make(new).await?;
        let (memory, id) = (Arc::clone(&self.memory), made.id.clone());
        let remembered = finished(async move { memory.remember(order, id).await }).await?;
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

/// What the memory says. It is asked in a task of its own, so that a caller that goes away leaves no connection half-way.
async fn finished<T: Send + 'static>(
    asking: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, ProviderError> {
    let error = match tokio::spawn(asking).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => telemetry::chain(&error),
        Err(panicked) => panicked.to_string(),
    };
    tracing::warn!(error, "the payment intent of an order cannot be looked up or remembered");
    // The provider is there, and what it is to do waits for our own database.
    Err(ProviderError::passing("the payment intent of the order cannot be looked up or remembered"))
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
