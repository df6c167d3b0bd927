//! The provider's payment intents and refunds, as stored and as shown.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The status of a payment intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created or declined: it may be confirmed.
    RequiresPaymentMethod,
    /// The customer would have to authenticate.
    RequiresAction,
    /// Charged.
    Succeeded,
    /// Will never be charged.
    Canceled,
}

/// A payment intent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    /// `metadata[order_id]`
    pub order_id: Option<String>,
    pub amount: u64,
    pub currency: String,
    pub status: Status,
    /// Number of confirm requests.
    pub confirms: u32,
    /// Number of confirm requests that charged the card.
    pub charged: u32,
    pub last_payment_error: Option<Value>,
    pub cancellation_reason: Option<String>,
}

impl Intent {
    /// Returns a new intent, not confirmed.
    pub fn new(amount: u64, currency: String, order_id: Option<String>) -> Self {
        Self {
            id: name("pi"),
            order_id,
            amount,
            currency,
            status: Status::RequiresPaymentMethod,
            confirms: 0,
            charged: 0,
            last_payment_error: None,
            cancellation_reason: None,
        }
    }

    /// Returns it as the API shows it.
    pub fn shown(&self) -> Value {
        let received = if self.status == Status::Succeeded { self.amount } else { 0 };
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_received": received,
            "currency": self.currency,
            "status": self.status,
            "last_payment_error": self.last_payment_error,
            "cancellation_reason": self.cancellation_reason,
            "metadata": { "order_id": self.order_id },
            "livemode": false,
        })
    }
}

/// A refund. All refunds succeed here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub payment_intent: String,
    pub amount: u64,
    pub currency: String,
    pub status: String,
}

impl Refund {
    /// Returns a new refund.
    pub fn new(intent: &Intent, amount: u64) -> Self {
        Self {
            id: name("re"),
            payment_intent: intent.id.clone(),
            amount,
            currency: intent.currency.clone(),
            status: "succeeded".to_owned(),
        }
    }

    /// Returns it as the API shows it.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "currency": self.currency,
            "payment_intent": self.payment_intent,
            "status": self.status,
        })
    }
}

fn name(kind: &str) -> String {
    format!("{kind}_{}", Uuid::now_v7().simple())
}
