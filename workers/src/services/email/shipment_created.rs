//! `shipment.created` → the mail "shipped"

use askama::Template;
use orderflow_events::ShipmentCreated;

use super::{
    letter::Letter,
    templates::{Unwritable, View, Written, written},
};

#[derive(Template)]
#[template(path = "shipped.txt")]
struct Text<'a> {
    order: &'a View,
    tracking_number: &'a str,
}

#[derive(Template)]
#[template(path = "shipped.html")]
struct Html<'a> {
    order: &'a View,
    tracking_number: &'a str,
}

impl Letter for ShipmentCreated {
    const NAME: &'static str = "shipped";

    fn write(&self, order: &View) -> Result<Written, Unwritable> {
        let tracking_number = &self.tracking_number;
        let subject = format!("Your order {} is on its way", order.number);
        written(subject, &Text { order, tracking_number }, &Html { order, tracking_number })
    }
}
