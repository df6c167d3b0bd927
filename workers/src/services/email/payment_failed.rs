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

/// Returns the provider's reason as a sentence. The reasons are Stripe's decline codes. Those that could help a thief
/// (a stolen card) are deliberately left out, as Stripe's documentation requires.
fn in_words(reason: &str) -> &'static str {
    match reason {
        "insufficient_funds" => "There was not enough money on the account.",
        "expired_card" => "The card has expired.",
        "incorrect_cvc" | "invalid_cvc" => "The card's security code was incorrect.",
        "unknown_payment_method" => "This payment method does not exist.",
        "payment_method_unusable" => "This payment method cannot be used, or was already used.",
        "amount_not_chargeable" => "Our payment provider cannot charge this amount.",
        "authentication_required" => {
            "Your bank requires you to confirm the payment, which our shop does not support yet. You can try another card."
        }
        // Stripe's codes for temporary failures: another attempt may succeed.
        "processing_error" | "try_again_later" | "issuer_not_available" | "reenter_transaction" => {
            "Your bank could not be reached. You can try the same card again."
        }
        _ => "Your bank declined the payment. Only your bank can tell you why.",
    }
}
