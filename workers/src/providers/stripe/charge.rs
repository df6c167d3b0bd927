//! Charges and voids an order's payment intent.

use orderflow_order::domain::stripe;
use orderflow_service::provider_error::ProviderError;

use super::{
    NewIntent, Of, Stripe,
    answers::{AMOUNT, Verdict},
    given_up,
    intent::{AFTER_DECLINE, Intent, Standing},
    refusal::Refusal,
};
use crate::providers::payment::{ChargeOutcome, ChargeRequest, VoidOutcome, VoidRequest};

/// The cancellation reason of an intent that must not be charged any more.
const GIVEN_UP: &str = "requested_by_customer";

impl Stripe {
    pub(super) async fn charge_once(&self, request: ChargeRequest) -> Result<ChargeOutcome, ProviderError> {
        let ChargeRequest { idempotency_key: key, reference, method, amount, currency } = &request;
        // The front end refuses such orders, so this one dates from before the shop switched to Stripe.
        let Ok(units) = stripe::to_units(*amount, currency) else {
            return Ok(ChargeOutcome::Declined { reason: AMOUNT.to_owned() });
        };
        let new = NewIntent { key, order: *reference, units, currency };
        let intent = match self.intent_of(*reference, &new).await? {
            Of::Order(intent) => intent,
            Of::GivenUp => return Ok(ChargeOutcome::Voided),
            Of::Refused(reason) => return Ok(ChargeOutcome::Declined { reason }),
        };
        intent.is_of(*amount, currency)?;
        if intent.standing() != Standing::Open {
            return self.conclude(&intent).await;
        }
        match self.api.confirm(&intent.id, method).await {
            Ok(confirmed) => self.conclude(&confirmed).await,
            Err(refusal) => self.not_confirmed(&intent, refusal).await,
        }
    }

    /// Returns the outcome of a refused confirmation.
    async fn not_confirmed(&self, intent: &Intent, refusal: Refusal) -> Result<ChargeOutcome, ProviderError> {
        if let (Some(reason), true) = (refusal.declined(), refusal.is_tried) {
            return self.decline(intent, reason.to_owned()).await;
        }
        if matches!(refusal.verdict, Verdict::Paused | Verdict::Retried | Verdict::NewKey) {
            return Err(refusal.into());
        }
        // Another confirmation of ours, or a cancellation, may have caused the refusal.
        let now = self.api.retrieve(&intent.id).await?;
        if now.standing() != Standing::Open {
            return self.conclude(&now).await;
        }
        match refusal.declined() {
            // The card was not tried and never can be. The intent may stay open: a repeated confirmation gives the same
            // reason.
            Some(reason) => Ok(ChargeOutcome::Declined { reason: reason.to_owned() }),
            None => Err(refusal.into()),
        }
    }

    /// Returns the outcome of an intent.
    async fn conclude(&self, intent: &Intent) -> Result<ChargeOutcome, ProviderError> {
        Ok(match intent.standing() {
            Standing::Charged => ChargeOutcome::Succeeded { charge_id: intent.id.clone() },
            Standing::Voided => ChargeOutcome::Voided,
            Standing::DeclinedForGood(reason) => ChargeOutcome::Declined { reason },
            Standing::Declined(reason) => return self.decline(intent, reason).await,
            Standing::Open | Standing::Undecided => return Err(undecided()),
        })
    }

    /// Cancels a declined intent before the decline is reported. Otherwise a delayed confirmation of ours could still
    /// charge it.
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
        let order = request.reference;
        let known = match self.memory.recall(order).await? {
            Some(known) => known,
            // No charge was requested, so Stripe need not be called. A delayed charge finds this instead of its intent.
            None => self.memory.remember(order, given_up(order)).await?,
        };
        if known == given_up(order) {
            return Ok(VoidOutcome::NotCharged);
        }
        let now = self.cancelled(&known, GIVEN_UP).await?;
        match now.standing() {
            Standing::Charged => Ok(VoidOutcome::Charged { charge_id: now.id }),
            Standing::Voided | Standing::DeclinedForGood(_) => Ok(VoidOutcome::NotCharged),
            Standing::Open | Standing::Declined(_) | Standing::Undecided => Err(undecided()),
        }
    }

    /// Cancels an intent and returns its state. An intent that was charged or cancelled before stays so.
    async fn cancelled(&self, intent: &str, reason: &str) -> Result<Intent, ProviderError> {
        match self.api.cancel(intent, reason).await {
            Err(refusal) if refusal.verdict == Verdict::LookedUp => Ok(self.api.retrieve(intent).await?),
            cancelled => Ok(cancelled?),
        }
    }
}

fn undecided() -> ProviderError {
    ProviderError::transient("the payment provider has not decided about the payment yet")
}
