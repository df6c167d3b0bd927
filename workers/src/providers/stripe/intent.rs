//! The fields of a payment intent that we use, and its outcome.

use orderflow_order::domain::stripe;
use orderflow_service::provider_error::ProviderError;
use serde::Deserialize;

use super::api_error::CardError;

/// The cancellation reason of a declined intent. Stripe stores it, so the intent itself shows that it was declined and
/// not voided.
pub(super) const AFTER_DECLINE: &str = "abandoned";

/// The decline reason if the customer's bank requires authentication, since the customer is no longer present.
const AUTHENTICATION_REQUIRED: &str = "authentication_required";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Intent {
    pub id: String,
    /// In Stripe's units.
    pub amount: i64,
    /// ISO 4217, in lower case.
    pub currency: String,
    pub status: Status,
    #[serde(default)]
    pub last_payment_error: Option<CardError>,
    #[serde(default)]
    pub cancellation_reason: Option<String>,
}

/// <https://docs.stripe.com/payments/paymentintents/lifecycle>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    Succeeded,
    Canceled,
    /// A status that our intents never have.
    #[serde(other)]
    Other,
}

/// The outcome of an intent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No confirmation is visible yet.
    Open,
    /// The customer was charged.
    Charged,
    /// The card was declined; the intent could still be confirmed with another card.
    Declined(String),
    /// The card was declined, and the intent was then cancelled.
    DeclinedForGood(String),
    /// The intent was cancelled and will never be charged.
    Voided,
    /// There is no outcome yet.
    Undecided,
}

impl Intent {
    pub fn standing(&self) -> Standing {
        let reason = || self.last_payment_error.as_ref().map(CardError::reason);
        match self.status {
            Status::RequiresPaymentMethod => reason().map_or(Standing::Open, Standing::Declined),
            Status::RequiresConfirmation => Standing::Open,
            Status::RequiresAction => Standing::Declined(AUTHENTICATION_REQUIRED.to_owned()),
            Status::Succeeded => Standing::Charged,
            Status::Canceled if self.cancellation_reason.as_deref() == Some(AFTER_DECLINE) => {
                Standing::DeclinedForGood(reason().unwrap_or_else(|| AUTHENTICATION_REQUIRED.to_owned()))
            }
            Status::Canceled => Standing::Voided,
            Status::Processing | Status::Other => Standing::Undecided,
        }
    }

    /// Fails unless the intent has this amount, in our minor units, and this currency.
    pub fn is_of(&self, amount: i64, currency: &str) -> Result<(), ProviderError> {
        let is_amount = stripe::from_units(self.amount, &self.currency) == Some(amount);
        if is_amount && self.currency.eq_ignore_ascii_case(currency) {
            return Ok(());
        }
        Err(ProviderError::permanent("the order's payment intent has a different amount or currency"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(more: &str) -> Intent {
        let text =
            format!(r#"{{"id": "pi_1", "amount": 1499, "currency": "eur", "object": "payment_intent", {more}}}"#);
        serde_json::from_str(&text).expect("an intent")
    }

    #[test]
    fn status_of_an_intent_determines_its_outcome() {
        let declined = r#""last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}"#;
        for (more, standing) in [
            (r#""status": "requires_payment_method", "last_payment_error": null"#.to_owned(), Standing::Open),
            (r#""status": "requires_confirmation""#.to_owned(), Standing::Open),
            (r#""status": "succeeded""#.to_owned(), Standing::Charged),
            (format!(r#""status": "succeeded", {declined}"#), Standing::Charged),
            (
                format!(r#""status": "requires_payment_method", {declined}"#),
                Standing::Declined("insufficient_funds".into()),
            ),
            (r#""status": "requires_action""#.to_owned(), Standing::Declined("authentication_required".into())),
            (r#""status": "canceled", "cancellation_reason": "requested_by_customer""#.to_owned(), Standing::Voided),
            (r#""status": "canceled", "cancellation_reason": null"#.to_owned(), Standing::Voided),
            (
                format!(r#""status": "canceled", "cancellation_reason": "abandoned", {declined}"#),
                Standing::DeclinedForGood("insufficient_funds".into()),
            ),
            (
                r#""status": "canceled", "cancellation_reason": "abandoned""#.to_owned(),
                Standing::DeclinedForGood("authentication_required".into()),
            ),
            (r#""status": "processing""#.to_owned(), Standing::Undecided),
            (r#""status": "requires_capture""#.to_owned(), Standing::Undecided),
            (r#""status": "something of next year""#.to_owned(), Standing::Undecided),
        ] {
            assert_eq!(intent(&more).standing(), standing, "{more}");
        }
    }

    #[test]
    fn amount_of_an_intent_is_in_stripes_units() {
        let intent: Intent =
            serde_json::from_str(r#"{"id": "pi_1", "amount": 499800, "currency": "isk", "status": "succeeded"}"#)
                .expect("an intent");
        assert_eq!(intent.is_of(4998, "ISK"), Ok(()));
        assert!(intent.is_of(499_800, "ISK").is_err(), "a hundred times too much");
    }

    #[test]
    fn intent_with_another_amount_or_currency_is_refused() {
        let intent = intent(r#""status": "succeeded""#);
        assert_eq!(intent.is_of(1499, "EUR"), Ok(()));
        for (amount, currency) in [(1498, "EUR"), (1499, "USD")] {
            assert!(matches!(intent.is_of(amount, currency), Err(ProviderError::Permanent { .. })));
        }
    }
}
