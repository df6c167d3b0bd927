//! `payment.failed` → the mail "declined"

use askama::Template;
use orderflow::{broker::Subscription, events::PaymentFailed};

use super::{
    letter::{Letter, Written},
    templates::{Unwritable, View, written},
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
    const SUBSCRIPTION: Subscription = Subscription::EmailPaymentFailed;
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
        _ => "Your bank declined the payment. It can tell you why; we are not told.",
    }
}
