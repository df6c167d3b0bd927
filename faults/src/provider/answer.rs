//! The answer to a request, and the changes that it makes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::objects::{Intent, Refund};

/// An answer as it is sent, and as it is stored under an idempotency key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// Returns an error in Stripe's form.
    pub fn error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        Self { status, body: json!({ "error": { "type": kind, "code": code, "message": message } }) }
    }

    /// Returns the error for an invalid request.
    pub fn invalid(code: &str, message: &str) -> Self {
        Self::error(400, "invalid_request_error", code, message)
    }

    /// Returns the error for an object that does not exist.
    pub fn missing(status: u16, what: &str, name: &str) -> Self {
        Self::error(status, "invalid_request_error", "resource_missing", &format!("No such {what}: '{name}'"))
    }

    /// Returns the error for an intent whose status does not allow the request.
    pub fn unexpected_state(intent: &Intent) -> Self {
        let message = "This PaymentIntent's status does not allow that.";
        Self::invalid("payment_intent_unexpected_state", message).with("payment_intent", intent.shown())
    }

    /// Returns the error for a failure on the provider's side.
    pub fn broken() -> Self {
        Self { status: 500, body: json!({ "error": { "type": "api_error", "message": "Something went wrong." } }) }
    }

    /// Adds a field to the error.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        if let Some(error) = self.body.get_mut("error").and_then(Value::as_object_mut) {
            error.insert(name.to_owned(), value);
        }
        self
    }
}

/// The result of a request: its answer, its changes, and whether the answer is kept under the request's key.
#[derive(Debug)]
pub struct Done {
    pub answer: Answer,
    pub intent: Option<Intent>,
    pub refund: Option<Refund>,
    /// False for requests that were invalid or not carried out: these may be repeated with the same key.
    pub kept: bool,
}

impl Done {
    /// Returns an error without effect, which is not kept.
    pub fn refused(answer: Answer) -> Self {
        Self { answer, intent: None, refund: None, kept: false }
    }

    /// Returns an error without effect, which is kept.
    pub fn impossible(answer: Answer) -> Self {
        Self { answer, intent: None, refund: None, kept: true }
    }

    /// Returns the changed intent as the answer.
    pub fn intent(intent: Intent) -> Self {
        let answer = Answer { status: 200, body: intent.shown() };
        Self { answer, intent: Some(intent), refund: None, kept: true }
    }
}
