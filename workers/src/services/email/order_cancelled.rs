//! `order.cancelled` → the mail "cancelled", which is also the mail "refunded".
//!
//! An order is cancelled as soon as it is refunded, within a second of `payment.refunded`. One mail that reports both
//! is better for customers than two, which might arrive in either order.

use askama::Template;
use orderflow_events::OrderCancelled;

use super::{
    letter::Letter,
    templates::{Unwritable, View, Written, money, written},
};

#[derive(Template)]
#[template(path = "cancelled.txt")]
struct Text<'a> {
    order: &'a View,
    reason: &'a str,
    refunded: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "cancelled.html")]
struct Html<'a> {
    order: &'a View,
    reason: &'a str,
    refunded: Option<&'a str>,
}

impl Letter for OrderCancelled {
    const NAME: &'static str = "cancelled";

    fn write(&self, order: &View) -> Result<Written, Unwritable> {
        let reason = in_words(&self.reason);
        let refunded = self.refunded.as_ref().map(|refund| money(refund.amount, &refund.currency)).transpose()?;
        let refunded = refunded.as_deref();
        let and_refunded = if refunded.is_some() { " and refunded" } else { "" };
        let subject = format!("Your order {} is cancelled{and_refunded}", order.number);
        written(subject, &Text { order, reason, refunded }, &Html { order, reason, refunded })
    }
}

/// Returns the reason as a sentence.
fn in_words(reason: &str) -> &'static str {
    match reason {
        OrderCancelled::REQUESTED => "We have cancelled it, as you asked us to.",
        OrderCancelled::OUT_OF_STOCK => {
            "We are sorry: something you ordered is no longer in stock, so we had to cancel the order."
        }
        OrderCancelled::CARRIER_REFUSED => "We are sorry: our carrier cannot take the parcel, so we had to cancel it.",
        _ => "We are sorry: we had to cancel it.",
    }
}
