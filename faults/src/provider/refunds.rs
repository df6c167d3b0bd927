//! Refunds: created and listed.

use serde_json::json;

use super::{
    answer::{Answer, Done},
    books::Books,
    intents::Parameters,
    objects::{Refund, Status},
};

/// `GET /v1/refunds?payment_intent=…`, newest first as in Stripe.
pub fn list(books: &Books, parameters: &Parameters) -> Done {
    let Some(intent) = parameters.get("payment_intent") else {
        return Done::refused(Answer::invalid("parameter_missing", "Missing required param: payment_intent."));
    };
    if !books.intents.contains_key(intent) {
        return Done::refused(Answer::missing(404, "payment_intent", intent));
    }
    let mut data: Vec<_> = books.refunds_of(intent).map(Refund::shown).collect();
    data.reverse();
    let body = json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/refunds" });
    Done::refused(Answer { status: 200, body })
}

/// `POST /v1/refunds`
pub fn create(books: &Books, parameters: &Parameters) -> Done {
    let Some(name) = parameters.get("payment_intent") else {
        return Done::refused(Answer::invalid("parameter_missing", "Missing required param: payment_intent."));
    };
    let Some(intent) = books.intents.get(name) else {
        return Done::refused(Answer::missing(404, "payment_intent", name));
    };
    if intent.status != Status::Succeeded {
        let message = "This PaymentIntent does not have a successful charge to refund.";
        return Done::impossible(Answer::invalid("payment_intent_unexpected_state", message));
    }
    let given_back = books.refunds_of(name).fold(0_u64, |sum, refund| sum.saturating_add(refund.amount));
    let left = intent.amount.saturating_sub(given_back);
    if left == 0 {
        return Done::impossible(Answer::invalid("charge_already_refunded", "The charge has already been refunded."));
    }
    let amount = parameters.get("amount").map_or(Ok(left), |text| text.parse());
    let Ok(amount) = amount else {
        return Done::refused(Answer::invalid("parameter_invalid_integer", "Invalid integer: amount"));
    };
    if amount == 0 || amount > left {
        return Done::impossible(Answer::invalid(
            "amount_too_large",
            "Refund amount is greater than unrefunded amount",
        ));
    }
    let refund = Refund::new(intent, amount);
    let answer = Answer { status: 200, body: refund.shown() };
    Done { answer, intent: None, refund: Some(refund), kept: true }
}
