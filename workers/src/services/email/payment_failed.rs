//! `payment.failed` → the mail "declined"

use askama::Template;
use orderflow_events::PaymentFailed;

use super::{
    letter::Letter,
    templates::{Unwritable, View, Written, written},
};

#[derive(Template)]
#[template(path = "declined.txt")]
struct Text<'a> {
    order: &'a View,
    reason: &'a str,
}

#[derive(Template)]
#[template(path = "declined.html")]
struct Html<'a> {
    order: &'a View,
    reason: &'a str,
}

impl Letter for PaymentFailed {
    const NAME: &'static str = "declined";

    fn write(&self, order: &View) -> Result<Written, Unwritable> {
        let reason = in_words(&self.reason);
        let subject = format!("The payment for your order {} was declined", order.number);
        written(subject, &Text { order, reason }, &Html { order, reason })
    }
}

/// The provider's reason in a sentence. The words are Stripe's decline codes; those that could tell a thief something
/// (a stolen card) are deliberately not among them, as Stripe's documentation asks.
fn in_words(reason: &str) -> &'static str {
    match reason {
        "insufficient_funds" => "There was not enough money on the account.",
        "expired_card" => "The card has expired.",
        "incorrect_cvc" | "invalid_cvc" => "The card's security code was not right.",
        "unknown_payment_method" => "We do not know this means of payment.",
        "payment_method_unusable" => "This means of payment cannot be used, or not a second time.",
        "amount_not_chargeable" => "Our payment provider cannot charge this amount.",
        "authentication_required" => {
            "Your bank asks you to confirm the payment, which our shop cannot do yet. Another card may work."
        }
        // Stripe's codes for what the provider could not do, at another time or with another card.
        "processing_error" | "try_again_later" | "issuer_not_available" | "reenter_transaction" => {
            "Your bank could not be reached. You may try the same card again."
        }
        _ => "Your bank declined the payment. It can tell you why; we are not told.",
    }
}
