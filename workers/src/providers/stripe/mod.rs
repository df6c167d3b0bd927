//! Stripe, by its PaymentIntents API.
//!
//! What keeps a customer from being charged twice is that an order has one payment intent, which can succeed once. It is
//! made unconfirmed, remembered, and only then confirmed. An attempt whose outcome is unknown is followed by looking at
//! that intent and never by another. Idempotency keys could not do that: Stripe forgets them after a day, and repeats a
//! stored 500 until then.

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

/// What remembers which payment intent is an order's.
pub trait IntentMemory: Send + Sync {
    /// The order's intent, if one is remembered.
    ///
    /// # Errors
    /// When nobody knows at the moment.
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, NoMemory>>;

    /// Remembers this intent, or what [`given_up`] names, unless the order has one already, durably; returns what it has.
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
        // Somebody else was faster. Ours is not confirmed, so it is untidy at worst.
        drop(self.api.cancel(&made.id, "duplicate").await);
        self.known(order, &remembered).await
    }

    async fn known(&self, order: Uuid, intent: &str) -> Result<Of, ProviderError> {
        if intent == given_up(order) { Ok(Of::GivenUp) } else { Ok(Of::Order(self.api.retrieve(intent).await?)) }
    }

    /// A new intent, not confirmed. The usual key keeps attempts from making many; where it is of no use any more (a
    /// stored error, other parameters, a request that still runs) the intent gets a key of its own. An intent too many
    /// is harmless as long as nobody confirms it.
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

/// What an order has at Stripe.
enum Of {
    /// This intent.
    Order(Intent),
    /// Nothing, and it never will: the order was cancelled before Stripe was asked.
    GivenUp,
    /// Nothing: Stripe cannot make an intent of this amount, for this reason.
    Refused(String),
}

/// What is remembered instead of an intent where an order was cancelled before it had one. Stripe's own names begin
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
