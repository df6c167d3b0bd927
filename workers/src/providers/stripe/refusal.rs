//! Stripe's error responses, and what follows from them by the table in `answers.rs`.

use orderflow_service::provider_error::ProviderError;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::time::Duration;

use super::{
    answers::{self, Call, Verdict},
    api_error::{ApiError, word},
};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub verdict: Verdict,
    /// Whether the bank answered, not only Stripe.
    pub is_tried: bool,
    /// The reason for a decline, as a word for the event.
    reason: String,
    /// The reason for the log. Of Stripe's texts it contains only codes.
    why: String,
    /// The minimum wait, if Stripe requested one.
    retry_after: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    error: ApiError,
}

impl Refusal {
    /// Returns the refusal for an error response.
    pub fn of(call: Call, status: StatusCode, retry_after: Option<Duration>, replayed: bool, body: &[u8]) -> Self {
        let error = serde_json::from_slice::<Body>(body).ok().map(|body| body.error);
        let verdict = answers::verdict(call, status, replayed, error.as_ref());
        let reason = match (verdict, &error) {
            (Verdict::DeclinedAs(reason), _) => reason.to_owned(),
            (_, Some(error)) => error.card.reason(),
            (_, None) => String::new(),
        };
        let is_tried =
            status == StatusCode::PAYMENT_REQUIRED || error.as_ref().is_some_and(|error| error.kind == "card_error");
        Self { verdict, is_tried, reason, why: why(status, error.as_ref()), retry_after }
    }

    /// Returns the refusal for a response that cannot be parsed, from the provider or from something in between.
    pub fn unreadable(status: StatusCode) -> Self {
        let why = format!("the payment provider's answer ({}) cannot be parsed", status.as_u16());
        Self { verdict: Verdict::Retried, is_tried: false, reason: String::new(), why, retry_after: None }
    }

    /// Returns the refusal for a request without a response.
    pub fn unreachable(why: &str) -> Self {
        Self {
            verdict: Verdict::Paused,
            is_tried: false,
            reason: String::new(),
            why: why.to_owned(),
            retry_after: None,
        }
    }

    /// Returns the reason for the decline, if this is one.
    pub fn declined(&self) -> Option<&str> {
        matches!(self.verdict, Verdict::Declined | Verdict::DeclinedAs(_)).then_some(&self.reason)
    }
}

/// Returns the reason for operators.
fn why(status: StatusCode, error: Option<&ApiError>) -> String {
    let number = status.as_u16();
    let Some(error) = error else { return format!("the payment provider answered {number} without a reason") };
    let code = error.code().and_then(word).unwrap_or("no code");
    match number {
        401 | 403 => format!("the payment provider refuses our key ({number}, {code}): check STRIPE_SECRET_KEY"),
        429 => format!("the payment provider is limiting our requests ({number}, {code})"),
        500.. => format!("the payment provider answered {number} ({code})"),
        _ => format!("the payment provider refused the request ({number}, {code})"),
    }
}

impl From<Refusal> for ProviderError {
    /// Converts a refusal that has no better meaning. A decline outside a charge does not concern the customer: a
    /// cancellation or a refund was refused.
    fn from(refusal: Refusal) -> Self {
        let Refusal { verdict, why, retry_after, .. } = refusal;
        match verdict {
            Verdict::Paused => Self::Unavailable { why, retry_after },
            Verdict::DeadLetter => Self::Permanent { why },
            Verdict::Declined | Verdict::DeclinedAs(_) | Verdict::NewKey | Verdict::LookedUp | Verdict::Retried => {
                Self::Transient { why, retry_after }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(call: Call, status: u16, body: &str) -> Refusal {
        Refusal::of(call, StatusCode::from_u16(status).expect("a status"), None, false, body.as_bytes())
    }

    #[test]
    fn retry_after_header_is_passed_on() {
        let after = Some(Duration::from_secs(7));
        let limited = Refusal::of(Call::Confirm, StatusCode::TOO_MANY_REQUESTS, after, false, b"");
        assert!(
            matches!(ProviderError::from(limited), ProviderError::Unavailable { retry_after, .. } if retry_after == after)
        );
    }

    #[test]
    fn log_contains_stripes_codes_but_not_its_messages() {
        let error = r#"{"error": {"type": "invalid_request_error", "code": "parameter_missing", "message": "Ada"}}"#;
        let refused = ProviderError::from(of(Call::Confirm, 400, error)).to_string();
        assert!(refused.contains("parameter_missing") && !refused.contains("Ada"), "{refused}");
        let key = ProviderError::from(of(Call::Read, 401, error)).to_string();
        assert!(key.contains("check STRIPE_SECRET_KEY"), "{key}");
    }

    #[test]
    fn decline_names_the_banks_reason_or_ours() {
        let bank = of(Call::Confirm, 402, r#"{"error": {"type": "card_error", "code": "expired_card"}}"#);
        assert_eq!(bank.declined(), Some("expired_card"));
        let used = of(Call::Confirm, 400, r#"{"error": {"type": "invalid_request_error", "message": "was used"}}"#);
        assert_eq!(used.declined(), Some("payment_method_unusable"));
        assert_eq!(of(Call::Cancel, 402, r#"{"error": {"type": "card_error"}}"#).declined(), None);
    }
}
