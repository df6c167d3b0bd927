//! What the provider keeps: payment intents and refunds, as they are written down and as they are shown.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How far a payment intent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Made, or declined: it may be confirmed.
    RequiresPaymentMethod,
    /// The customer would have to prove who they are.
    RequiresAction,
    /// Charged.
    Succeeded,
    /// Never to be charged.
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
    /// How often it was asked to be confirmed.
    pub confirms: u32,
    /// How many of these charged the card.
    pub charged: u32,
    pub last_payment_error: Option<Value>,
    pub cancellation_reason: Option<String>,
}

impl Intent {
    /// A new one, not confirmed.
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

    /// As the API shows it.
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

/// A refund. Here they all succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub payment_intent: String,
    pub amount: u64,
    pub currency: String,
    pub status: String,
}

impl Refund {
    /// A new one.
    pub fn new(intent: &Intent, amount: u64) -> Self {
        Self {
            id: name("re"),
            payment_intent: intent.id.clone(),
            amount,
            currency: intent.currency.clone(),
            status: "succeeded".to_owned(),
        }
    }

    /// As the API shows it.
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
