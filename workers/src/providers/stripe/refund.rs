//! Refunds a charge.

use orderflow_order::domain::stripe;
use orderflow_service::provider_error::ProviderError;
use uuid::Uuid;

use super::{Stripe, answers::Verdict, api::Refund};
use crate::providers::payment::RefundRequest;

impl Stripe {
    /// Refunds a charge once. It reads the existing refunds first, since Stripe forgets idempotency keys after a day
    /// and a refund may wait longer. In the end, a second refund is impossible because Stripe refunds no more than was
    /// charged.
    pub(super) async fn refund_once(&self, request: RefundRequest) -> Result<String, ProviderError> {
        let RefundRequest { idempotency_key: key, charge_id, amount, currency } = &request;
        let units = stripe::to_units(*amount, currency).map_err(|why| ProviderError::permanent(why.to_string()))?;
        let before = self.api.refunds(charge_id).await?;
        if let Some(made) = whole(&before, units) {
            return Ok(made);
        }
        // A failed refund is stored under its key: the same key would only return it again.
        let failed = before.iter().filter(|refund| !refund.holds()).count();
        let key = if failed == 0 { key.clone() } else { format!("{key}-{failed}") };
        let made = match self.api.refund(charge_id, units, &key).await {
            Err(refusal) if matches!(refusal.verdict, Verdict::NewKey | Verdict::LookedUp) => {
                if let Some(made) = whole(&self.api.refunds(charge_id).await?, units) {
                    return Ok(made);
                }
                if refusal.verdict == Verdict::LookedUp {
                    return Err(refusal.into());
                }
                let key = format!("{key}-{}", Uuid::now_v7().simple());
                self.api.refund(charge_id, units, &key).await?
            }
            made => made?,
        };
        if made.holds() {
            return Ok(made.id);
        }
        Err(ProviderError::transient("the payment provider could not refund the payment"))
    }
}

/// Returns the refund of the full amount, if there is one.
fn whole(refunds: &[Refund], units: i64) -> Option<String> {
    refunds.iter().find(|refund| refund.holds() && refund.amount == units).map(|refund| refund.id.clone())
}
