//! Charging an order's intent, and giving it up.

use super::{
    NewIntent, Stripe,
    intent::{AFTER_DECLINE, Intent, Standing},
    refusal::Refusal,
};
use crate::providers::{
    ProviderError,
    payment::{ChargeOutcome, ChargeRequest, VoidOutcome, VoidRequest},
};

/// Why we cancel an intent that is not to be charged any more.
const GIVEN_UP: &str = "requested_by_customer";

impl Stripe {
    pub(super) async fn charge_once(&self, request: ChargeRequest) -> Result<ChargeOutcome, ProviderError> {
        let ChargeRequest { idempotency_key: key, reference, method, amount, currency } = &request;
        let new = NewIntent { key, order: *reference, amount: *amount, currency };
        let intent = self.intent_of(*reference, &new).await?;
        intent.is_of(*amount, currency)?;
        if intent.standing() != Standing::Open {
            return self.conclude(&intent).await;
        }
        match self.api.confirm(&intent.id, method).await {
            Ok(confirmed) => self.conclude(&confirmed).await,
            Err(refusal) => self.not_confirmed(&intent, refusal).await,
        }
    }

    /// What a confirmation that was refused comes to.
    async fn not_confirmed(&self, intent: &Intent, refusal: Refusal) -> Result<ChargeOutcome, ProviderError> {
        if let Some(error) = refusal.card() {
            return self.decline(intent, error.reason()).await;
        }
        // It was not even tried, and never can be: the intent may stay as it is.
        if refusal.is_unknown_card() {
            return Ok(ChargeOutcome::Declined { reason: "unknown_payment_method".to_owned() });
        }
        if refusal.is_bad_request() {
            // Most likely somebody else has confirmed or cancelled it since we looked.
            let now = self.api.look(&intent.id).await?;
            if now.standing() != Standing::Open {
                return self.conclude(&now).await;
            }
        }
        Err(refusal.into())
    }

    /// The outcome that an intent stands for.
    async fn conclude(&self, intent: &Intent) -> Result<ChargeOutcome, ProviderError> {
        Ok(match intent.standing() {
            Standing::Charged => ChargeOutcome::Succeeded { charge_id: intent.id.clone() },
            Standing::Voided => ChargeOutcome::Voided,
            Standing::DeclinedForGood(reason) => ChargeOutcome::Declined { reason },
            Standing::Declined(reason) => return self.decline(intent, reason).await,
            Standing::Open | Standing::Undecided => return Err(undecided()),
        })
    }

    /// A declined intent could still be charged, by a confirmation of ours that is late on its way. So it is cancelled
    /// before anybody is told.
    async fn decline(&self, intent: &Intent, reason: String) -> Result<ChargeOutcome, ProviderError> {
        let now = self.cancelled(&intent.id, AFTER_DECLINE).await?;
        match now.standing() {
            Standing::Charged => Ok(ChargeOutcome::Succeeded { charge_id: now.id }),
            Standing::DeclinedForGood(_) => Ok(ChargeOutcome::Declined { reason }),
            Standing::Voided => Ok(ChargeOutcome::Voided),
            Standing::Open | Standing::Declined(_) | Standing::Undecided => Err(undecided()),
        }
    }

    pub(super) async fn void_for_good(&self, request: VoidRequest) -> Result<VoidOutcome, ProviderError> {
        let VoidRequest { idempotency_key: key, reference, amount, currency } = &request;
        let new = NewIntent { key, order: *reference, amount: *amount, currency };
        // An order without an intent gets one, cancelled: that is what a charge that is late on its way will find.
        let intent = self.intent_of(*reference, &new).await?;
        let now = self.cancelled(&intent.id, GIVEN_UP).await?;
        match now.standing() {
            Standing::Charged => Ok(VoidOutcome::Charged { charge_id: now.id }),
            Standing::Voided | Standing::DeclinedForGood(_) => Ok(VoidOutcome::NotCharged),
            Standing::Open | Standing::Declined(_) | Standing::Undecided => Err(undecided()),
        }
    }

    /// Cancels an intent, and returns how it then is: one that was charged or cancelled before stays so.
    async fn cancelled(&self, intent: &str, reason: &str) -> Result<Intent, ProviderError> {
        match self.api.cancel(intent, reason).await {
            Err(refusal) if refusal.is_bad_request() => Ok(self.api.look(intent).await?),
            cancelled => Ok(cancelled?),
        }
    }
}

fn undecided() -> ProviderError {
    ProviderError::passing("the payment provider has not decided about the payment yet")
}
