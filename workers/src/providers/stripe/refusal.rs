//! What Stripe says instead of doing what it was asked, and what that means for us.

use reqwest::StatusCode;
use serde::Deserialize;
use tokio::time::Duration;

use super::intent::CardError;
use crate::providers::ProviderError;

/// Why a request did not have its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A 4xx about this request.
    Refused(Refused),
    /// A 5xx that was stored under the key, and comes again however often it is asked.
    Stored,
    /// No answer that says anything about this request.
    Failed(ProviderError),
}

/// A 4xx and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub status: StatusCode,
    pub error: ApiError,
}

/// The error object of the API; without its message, which may repeat what a customer has typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub param: Option<String>,
    #[serde(flatten)]
    pub card: CardError,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    error: ApiError,
}

impl ApiError {
    fn code(&self) -> Option<&str> {
        self.card.code.as_deref()
    }
}

impl Refusal {
    /// What an answer without success means.
    pub fn of(status: StatusCode, retry_after: Option<Duration>, replayed: bool, body: &[u8]) -> Self {
        let body: Option<Body> = serde_json::from_slice(body).ok();
        let locked = body.as_ref().and_then(|body| body.error.code()) == Some("lock_timeout");
        match status {
            _ if status.is_server_error() && replayed => Self::Stored,
            _ if status.is_server_error() => Self::away(format!("the payment provider answered {status}"), retry_after),
            // Another request for the same intent is being carried out.
            StatusCode::TOO_MANY_REQUESTS if locked => {
                let why = "the payment provider is busy with the same payment".to_owned();
                Self::Failed(ProviderError::Passing { why, retry_after })
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Self::away("the payment provider takes no more requests for now (429)".to_owned(), retry_after)
            }
            // It is about us, and ends when somebody corrects the setting: no order is to lose an attempt by it.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let status = status.as_u16();
                Self::away(format!("the payment provider refuses our key ({status}): check STRIPE_SECRET_KEY"), None)
            }
            _ => match body {
                Some(Body { error }) if status.is_client_error() => Self::Refused(Refused { status, error }),
                _ => Self::unreadable(status),
            },
        }
    }

    /// The provider, or what stands between us, answered something else.
    pub fn unreadable(status: StatusCode) -> Self {
        let status = status.as_u16();
        Self::Failed(ProviderError::passing(format!("the payment provider's answer ({status}) cannot be understood")))
    }

    fn away(why: String, retry_after: Option<Duration>) -> Self {
        Self::Failed(ProviderError::Away { why, retry_after })
    }

    /// Whether the same request with another key would fare better.
    pub fn is_about_the_key(&self) -> bool {
        match self {
            Self::Stored => true,
            Self::Refused(refused) => {
                refused.status == StatusCode::CONFLICT || refused.error.kind == "idempotency_error"
            }
            Self::Failed(_) => false,
        }
    }

    /// Whether another request with the same key, or for the same object, is being carried out.
    pub fn is_in_conflict(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == StatusCode::CONFLICT)
    }

    /// Whether the request was refused with this code.
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refused) if refused.error.code() == Some(code))
    }

    /// What the bank said, where it is the bank's word.
    pub fn card(&self) -> Option<&CardError> {
        match self {
            Self::Refused(Refused { status, error }) if *status == StatusCode::PAYMENT_REQUIRED => Some(&error.card),
            _ => None,
        }
    }

    /// Whether there is no such card.
    pub fn is_unknown_card(&self) -> bool {
        let param = |refused: &Refused| refused.error.param.as_deref() == Some("payment_method");
        self.is("resource_missing") && matches!(self, Self::Refused(refused) if param(refused))
    }

    /// Whether the request itself was refused, as one that does not fit how things stand.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == StatusCode::BAD_REQUEST)
    }
}

impl From<Refusal> for ProviderError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::Stored => Self::passing("the payment provider repeats an error that it has stored"),
            Refusal::Refused(Refused { status, error }) => {
                let code = error.code().and_then(word).unwrap_or("no code");
                let why = format!("the payment provider refused the request ({}, {code})", status.as_u16());
                // Only a bad request is bad for ever. What is missing (404) may be with another key, and what is in
                // conflict (409) may not be so for long.
                if status == StatusCode::BAD_REQUEST { Self::for_good(why) } else { Self::passing(why) }
            }
        }
    }
}

/// The text if it is a word such as Stripe's codes are: whatever else it is has no place in our log and events.
pub(super) fn word(text: &str) -> Option<&str> {
    let is_word = (1..=64).contains(&text.len())
        && text.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'_');
    is_word.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Refusal {
        Refusal::of(StatusCode::from_u16(status).expect("a status"), None, false, body.as_bytes())
    }

    #[test]
    fn what_is_about_the_provider_is_told_from_what_is_about_the_request() {
        let error = r#"{"error": {"type": "invalid_request_error", "code": "parameter_missing", "message": "Ada"}}"#;
        for status in [500, 502, 503, 401, 403, 429] {
            assert!(matches!(ProviderError::from(of(status, error)), ProviderError::Away { .. }), "{status}");
        }
        for (status, body) in [(404, error), (409, error), (400, "<html>"), (302, ""), (402, "[]")] {
            assert!(matches!(ProviderError::from(of(status, body)), ProviderError::Passing { .. }), "{status} {body}");
        }
        let bad = ProviderError::from(of(400, error));
        assert!(matches!(&bad, ProviderError::ForGood { why } if why.contains("parameter_missing")), "{bad}");
        assert!(!bad.to_string().contains("Ada"), "{bad}");
    }

    #[test]
    fn a_wish_to_be_left_alone_is_passed_on_and_a_lock_is_one_payments_own() {
        let wish = Some(Duration::from_secs(7));
        let limited = Refusal::of(StatusCode::TOO_MANY_REQUESTS, wish, false, b"");
        assert!(matches!(ProviderError::from(limited), ProviderError::Away { retry_after, .. } if retry_after == wish));
        let locked = of(429, r#"{"error": {"type": "invalid_request_error", "code": "lock_timeout"}}"#);
        assert!(matches!(ProviderError::from(locked), ProviderError::Passing { .. }));
    }

    #[test]
    fn a_key_that_is_of_no_use_any_more_is_recognised() {
        assert!(Refusal::of(StatusCode::INTERNAL_SERVER_ERROR, None, true, b"").is_about_the_key());
        assert!(of(409, r#"{"error": {"type": "idempotency_error"}}"#).is_about_the_key());
        assert!(of(400, r#"{"error": {"type": "idempotency_error"}}"#).is_about_the_key());
        assert!(!of(500, "").is_about_the_key());
        assert!(!of(400, r#"{"error": {"type": "invalid_request_error"}}"#).is_about_the_key());
    }

    #[test]
    fn a_card_that_was_declined_is_told_from_one_that_does_not_exist() {
        let declined = of(402, r#"{"error": {"type": "card_error", "code": "expired_card"}}"#);
        assert_eq!(declined.card().map(CardError::reason).as_deref(), Some("expired_card"));
        let unknown =
            r#"{"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}}"#;
        assert!(of(400, unknown).is_unknown_card() && of(404, unknown).is_unknown_card());
        assert!(!of(404, &unknown.replace("payment_method", "intent")).is_unknown_card());
    }

    #[test]
    fn only_words_pass() {
        assert_eq!(word("card_declined"), Some("card_declined"));
        for text in ["", "Ada Lovelace", "a\nb", &"x".repeat(65)] {
            assert_eq!(word(text), None, "{text:?}");
        }
    }
}
