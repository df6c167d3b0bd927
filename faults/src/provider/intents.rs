//! Payment intents: created, confirmed, cancelled, read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    answer::{Answer, Done},
    books::Books,
    objects::{Intent, Status},
};

/// The number of times that `pm_card_flaky` fails for each intent.
const FLAKY_FAILURES: u32 = 2;

/// A request's parameters, by name.
pub type Parameters = BTreeMap<String, String>;

/// The outcome of a card.
enum Verdict {
    Charged,
    Declined,
    NeedsAction,
    Broken,
    Unknown,
}

impl Verdict {
    fn of(card: &str, nth: u32) -> Self {
        match card {
            "pm_card_visa" => Self::Charged,
            "pm_card_visa_chargeDeclined" => Self::Declined,
            "pm_card_authenticationRequired" => Self::NeedsAction,
            "pm_card_flaky" if nth <= FLAKY_FAILURES => Self::Broken,
            "pm_card_flaky" => Self::Charged,
            _ => Self::Unknown,
        }
    }
}

/// `POST /v1/payment_intents`
pub fn create(parameters: &Parameters) -> Done {
    let given = |name: &str| parameters.get(name).filter(|text| !text.is_empty());
    let Some(amount) = given("amount") else { return parameter_missing("amount") };
    let Some(currency) = given("currency") else { return parameter_missing("currency") };
    let Some(amount) = amount.parse().ok().filter(|amount| *amount > 0) else {
        return Done::refused(Answer::invalid("parameter_invalid_integer", "Invalid integer: amount"));
    };
    if given("confirm").is_some() {
        let message = "Received unknown parameter: confirm (this provider confirms with a separate request)";
        return Done::refused(Answer::invalid("parameter_unknown", message));
    }
    if let Some(refused) = not_chargeable(amount, &currency.to_lowercase()) {
        return Done::refused(refused.with("param", "amount".into()));
    }
    Done::intent(Intent::new(amount, currency.to_lowercase(), given("metadata[order_id]").cloned()))
}

/// Checks the part of <https://docs.stripe.com/currencies> that tests use, for an account in euros.
fn not_chargeable(amount: u64, currency: &str) -> Option<Answer> {
    let step = match currency {
        "isk" | "ugx" => 100,
        "bhd" | "jod" | "kwd" | "omr" | "tnd" => 10,
        _ => 1,
    };
    match (amount, currency) {
        (..50, "eur") => Some(Answer::invalid("amount_too_small", "Amount must be at least €0.50 eur")),
        (100_000_000.., "eur") => Some(Answer::invalid("amount_too_large", "Amount must be no more than €999,999.99")),
        _ if !amount.is_multiple_of(step) => Some(Answer::invalid("invalid_charge_amount", "Invalid amount.")),
        _ => None,
    }
}

/// `GET /v1/payment_intents/{id}`
pub fn retrieve(books: &Books, id: &str) -> Done {
    let answer = books.intents.get(id).map(|intent| Answer { status: 200, body: intent.shown() });
    Done::refused(answer.unwrap_or_else(|| Answer::missing(404, "payment_intent", id)))
}

/// `POST /v1/payment_intents/{id}/confirm`
pub fn confirm(books: &Books, id: &str, parameters: &Parameters) -> Done {
    let Some(intent) = books.intents.get(id) else {
        return Done::refused(Answer::missing(404, "payment_intent", id));
    };
    let Some(card) = parameters.get("payment_method") else { return parameter_missing("payment_method") };
    if intent.status != Status::RequiresPaymentMethod {
        return Done::impossible(Answer::unexpected_state(intent));
    }
    let mut intent = intent.clone();
    intent.confirms = intent.confirms.saturating_add(1);
    match Verdict::of(card, intent.confirms) {
        Verdict::Unknown => {
            let answer = Answer::missing(400, "PaymentMethod", card).with("param", "payment_method".into());
            Done::refused(answer)
        }
        Verdict::Broken => Done { answer: Answer::broken(), intent: Some(intent), refund: None, kept: false },
        Verdict::Charged => {
            intent.status = Status::Succeeded;
            intent.charged = intent.charged.saturating_add(1);
            Done::intent(intent)
        }
        Verdict::NeedsAction => {
            intent.status = Status::RequiresAction;
            Done::intent(intent)
        }
        Verdict::Declined => declined(intent),
    }
}

fn declined(mut intent: Intent) -> Done {
    let error = json!({
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "generic_decline",
        "message": "Your card was declined.",
    });
    intent.last_payment_error = Some(error.clone());
    let body = json!({ "error": error });
    let answer = Answer { status: 402, body }.with("payment_intent", intent.shown());
    Done { answer, intent: Some(intent), refund: None, kept: true }
}

/// `POST /v1/payment_intents/{id}/cancel`
pub fn cancel(books: &Books, id: &str, parameters: &Parameters) -> Done {
    let Some(intent) = books.intents.get(id) else {
        return Done::refused(Answer::missing(404, "payment_intent", id));
    };
    if !matches!(intent.status, Status::RequiresPaymentMethod | Status::RequiresAction) {
        return Done::impossible(Answer::unexpected_state(intent));
    }
    let mut intent = intent.clone();
    intent.status = Status::Canceled;
    intent.cancellation_reason = parameters.get("cancellation_reason").cloned();
    Done::intent(intent)
}

fn parameter_missing(name: &str) -> Done {
    let answer = Answer::invalid("parameter_missing", &format!("Missing required param: {name}."));
    Done::refused(answer.with("param", Value::from(name)))
}
