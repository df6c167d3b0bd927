//! What a request is answered, and what it changes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::objects::{Intent, Refund};

/// An answer as it goes out, and as it is stored under an idempotency key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// An error in Stripe's form.
    pub fn error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        Self { status, body: json!({ "error": { "type": kind, "code": code, "message": message } }) }
    }

    /// The request itself is wrong.
    pub fn invalid(code: &str, message: &str) -> Self {
        Self::error(400, "invalid_request_error", code, message)
    }

    /// What is named does not exist.
    pub fn missing(status: u16, what: &str, name: &str) -> Self {
        Self::error(status, "invalid_request_error", "resource_missing", &format!("No such {what}: '{name}'"))
    }

    /// The intent is in no state for what is asked of it.
    pub fn unexpected_state(intent: &Intent) -> Self {
        let message = "This PaymentIntent's status does not allow that.";
        Self::invalid("payment_intent_unexpected_state", message).with("payment_intent", intent.shown())
    }

    /// Something broke on the provider's side.
    pub fn broken() -> Self {
        Self { status: 500, body: json!({ "error": { "type": "api_error", "message": "Something went wrong." } }) }
    }

    /// Something more about the error.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        if let Some(error) = self.body.get_mut("error").and_then(Value::as_object_mut) {
            error.insert(name.to_owned(), value);
        }
        self
    }
}

/// What came of a request: its answer, what has changed, and whether the answer is kept under the request's key.
#[derive(Debug)]
pub struct Done {
    pub answer: Answer,
    pub intent: Option<Intent>,
    pub refund: Option<Refund>,
    /// Requests that were wrong, or were not carried out, may come again with the same key.
    pub kept: bool,
}

impl Done {
    /// Nothing has happened.
    pub fn refused(answer: Answer) -> Self {
        Self { answer, intent: None, refund: None, kept: false }
    }

    /// It was looked at and found impossible.
    pub fn impossible(answer: Answer) -> Self {
        Self { answer, intent: None, refund: None, kept: true }
    }

    /// The intent is now like this, and that is the answer.
    pub fn intent(intent: Intent) -> Self {
        let answer = Answer { status: 200, body: intent.shown() };
        Self { answer, intent: Some(intent), refund: None, kept: true }
    }
}
