//! `order.created` → the mail "received"

use askama::Template;
use orderflow_events::OrderCreated;

use super::{
    letter::Letter,
    templates::{Unwritable, View, Written, written},
};

#[derive(Template)]
#[template(path = "received.txt")]
struct Text<'a> {
    order: &'a View,
}

#[derive(Template)]
#[template(path = "received.html")]
struct Html<'a> {
    order: &'a View,
}

impl Letter for OrderCreated {
    const NAME: &'static str = "received";
    /// Anyone can cause this mail without a payment.
    const IS_LIMITED: bool = true;

    fn write(&self, order: &View) -> Result<Written, Unwritable> {
        written(format!("We have received your order {}", order.number), &Text { order }, &Html { order })
    }
}
