//! Giving a charge back.

use uuid::Uuid;

use super::{Stripe, api::Refund};
use crate::providers::{ProviderError, payment::RefundRequest};

impl Stripe {
    /// Looks first: Stripe forgets keys after a day, and a refund may wait for longer than that. What keeps it from being
    /// made twice is in the end that Stripe gives back no more than was charged.
    pub(super) async fn refund_once(&self, request: RefundRequest) -> Result<String, ProviderError> {
        let RefundRequest { idempotency_key: key, charge_id, amount, .. } = &request;
        let before = self.api.refunds(charge_id).await?;
        if let Some(made) = whole(&before, *amount) {
            return Ok(made);
        }
        // A refund that failed is stored under its key, and asking again with that would only repeat it.
        let failed = before.iter().filter(|refund| !refund.holds()).count();
        let key = if failed == 0 { key.clone() } else { format!("{key}-{failed}") };
        let made = match self.api.refund(charge_id, *amount, &key).await {
            Err(refusal) if refusal.is_about_the_key() || refusal.is("charge_already_refunded") => {
                if let Some(made) = whole(&self.api.refunds(charge_id).await?, *amount) {
                    return Ok(made);
                }
                if refusal.is_in_conflict() || !refusal.is_about_the_key() {
                    return Err(refusal.into());
                }
                let key = format!("{key}-{}", Uuid::now_v7().simple());
                self.api.refund(charge_id, *amount, &key).await?
            }
            made => made?,
        };
        if made.holds() {
            return Ok(made.id);
        }
        Err(ProviderError::passing("the payment provider could not give the money back"))
    }
}

/// The refund that gives all of it back.
fn whole(refunds: &[Refund], amount: i64) -> Option<String> {
    refunds.iter().find(|refund| refund.holds() && refund.amount == amount).map(|refund| refund.id.clone())
}
