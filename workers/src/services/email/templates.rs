//! The data for the templates in `workers/templates/`, and the rendered mails.
//!
//! `.html` templates escape all values; `.txt` templates need no escaping.

use askama::Template;
use orderflow_order::domain;

use super::store::{Intent, Item};

/// Why a mail cannot be rendered; a retry cannot help.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// The number of the currency's decimals is unknown.
    #[error("{0:?} is not a currency with known decimals")]
    Currency(String),
    /// A template cannot be rendered.
    #[error("cannot render a template: {0}")]
    Template(#[from] askama::Error),
}

/// An order as its mails show it. It has no `Debug`, so that it cannot appear in logs.
#[derive(Clone)]
pub struct View {
    /// The order's number.
    pub number: String,
    /// `Hello Ada,`, or `Hello,` if the name does not look like one.
    pub greeting: String,
    /// The ordered products.
    pub lines: Vec<Line>,
    /// The total, such as `49.98 EUR`.
    pub total: String,
    /// The link to the status page. Anyone who has it can open the order.
    pub page: String,
}

/// One line of an order.
#[derive(Debug, Clone)]
pub struct Line {
    /// The product's name.
    pub name: String,
    /// The number of pieces.
    pub quantity: i32,
    /// The price of all pieces, such as `29.98 EUR`.
    pub amount: String,
}

/// A rendered mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The subject, one line.
    pub subject: String,
    /// The content as plain text.
    pub text: String,
    /// The content as HTML.
    pub html: String,
}

impl View {
    /// Returns the order as a mail shows it.
    ///
    /// # Errors
    /// Fails if the currency's decimals are unknown.
    pub(super) fn new(order: &Intent, items: &[Item], page: String) -> Result<Self, Unwritable> {
        let line = |item: &Item| {
            // Cannot overflow: the sum of all lines was checked when the order was placed.
            let amount = item.price.saturating_mul(item.quantity.into());
            let amount = money(amount, &order.currency)?;
            Ok(Line { name: item.name.clone(), quantity: item.quantity, amount })
        };
        Ok(Self {
            number: order.number.clone(),
            greeting: greeting(&order.name),
            lines: items.iter().map(line).collect::<Result<_, Unwritable>>()?,
            total: money(order.total, &order.currency)?,
            page,
        })
    }
}

fn greeting(name: &str) -> String {
    domain::greetable(name).map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"))
}

/// Returns an amount as text, such as `49.98 EUR`.
///
/// # Errors
/// Fails if the currency's decimals are unknown: a mail with a wrong amount is worse than none.
pub(super) fn money(minor_units: i64, currency: &str) -> Result<String, Unwritable> {
    domain::format_money(minor_units, currency).ok_or_else(|| Unwritable::Currency(currency.to_owned()))
}

/// Renders both forms of a mail.
pub(super) fn written(subject: String, text: &impl Template, html: &impl Template) -> Result<Written, Unwritable> {
    Ok(Written { subject, text: text.render()?, html: html.render()? })
}

#[cfg(test)]
mod tests {
    use orderflow_events::{OrderCancelled, OrderCreated, PaymentFailed, Refunded, ShipmentCreated};

    use super::*;
    use crate::services::email::Letter;

    fn view() -> View {
        View {
            number: "K7Q2M9XB4T".to_owned(),
            greeting: "Hello Ada <script>alert('x')</script> & Co.,".to_owned(),
            lines: vec![
                Line { name: "Blue stoneware mug".to_owned(), quantity: 2, amount: "29.98 EUR".to_owned() },
                Line { name: "Teapot, one litre".to_owned(), quantity: 1, amount: "39.90 EUR".to_owned() },
            ],
            total: "69.88 EUR".to_owned(),
            page: "https://shop.example/track/1?t=v1.1.ab".to_owned(),
        }
    }

    fn mails() -> [Written; 5] {
        let created = OrderCreated {
            number: "K7Q2M9XB4T".to_owned(),
            total: 6988,
            currency: "EUR".to_owned(),
            items: vec![],
            replaces: None,
        };
        [
            created.write(&view()).expect("a mail"),
            PaymentFailed { reason: "card_declined".to_owned() }.write(&view()).expect("a mail"),
            ShipmentCreated { tracking_number: "SIM8B2E32CD581C".to_owned() }.write(&view()).expect("a mail"),
            cancelled(OrderCancelled::REQUESTED, None),
            cancelled(OrderCancelled::CARRIER_REFUSED, Some(6988)),
        ]
    }

    fn cancelled(reason: &str, amount: Option<i64>) -> Written {
        let refunded = amount.map(|amount| Refunded { amount, currency: "EUR".to_owned() });
        OrderCancelled { reason: reason.to_owned(), refunded }.write(&view()).expect("a mail")
    }

    #[test]
    fn html_escapes_user_input() {
        for mail in mails() {
            assert!(!mail.html.contains("<script"), "{}", mail.html);
            assert!(mail.html.contains("Ada &#60;script&#62;"), "{}", mail.html);
        }
    }

    #[test]
    fn every_mail_lists_the_items_links_the_order_and_loads_nothing() {
        for mail in mails() {
            assert!(mail.subject.contains("K7Q2M9XB4T"), "{}", mail.subject);
            for form in [&mail.text, &mail.html] {
                for part in ["K7Q2M9XB4T", "Blue stoneware mug", "29.98 EUR", "69.88 EUR", &view().page] {
                    assert!(form.contains(part), "{part} is not in {form}");
                }
            }
            assert!(!mail.html.contains("<img") && !mail.html.contains("url("), "{}", mail.html);
            assert!(mail.html.contains(&format!("<title>{}</title>", mail.subject)), "{}", mail.html);
        }
    }

    #[test]
    fn text_forms_read_well() {
        let [_, declined, shipped, cancelled, refunded] = mails();
        assert_eq!(cancelled.subject, "Your order K7Q2M9XB4T is cancelled");
        assert_eq!(refunded.subject, "Your order K7Q2M9XB4T is cancelled and refunded");
        let body = |mail: &Written| mail.text.lines().skip(2).take(3).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(body(&cancelled), @r"
        Your order K7Q2M9XB4T will not be sent. We have cancelled it, as you asked us to.

        You have not been charged.
        ");
        insta::assert_snapshot!(body(&refunded), @r"
        Your order K7Q2M9XB4T will not be sent. We are sorry: our carrier cannot take the parcel, so we had to cancel it.

        We have refunded 69.88 EUR to the payment method that you used. Banks take up to ten days to show it.
        ");
        insta::assert_snapshot!(declined.text, @r"
        Hello Ada <script>alert('x')</script> & Co.,

        We could not take the payment for your order K7Q2M9XB4T. Your bank declined the payment. Only your bank can tell you why.

        You have not been charged, and nothing will be sent. You can order again with another card.

        2 x Blue stoneware mug: 29.98 EUR
        1 x Teapot, one litre: 39.90 EUR
        Total: 69.88 EUR

        Your order K7Q2M9XB4T, always up to date:
        https://shop.example/track/1?t=v1.1.ab

        Anyone with this link can open your order, so please do not share it.
        ");
        insta::assert_snapshot!(shipped.text, @r"
        Hello Ada <script>alert('x')</script> & Co.,

        Good news: your order K7Q2M9XB4T is with the carrier.
        Tracking number: SIM8B2E32CD581C

        2 x Blue stoneware mug: 29.98 EUR
        1 x Teapot, one litre: 39.90 EUR
        Total: 69.88 EUR

        Your order K7Q2M9XB4T, always up to date:
        https://shop.example/track/1?t=v1.1.ab

        Anyone with this link can open your order, so please do not share it.
        ");
    }

    /// Anybody can order with another person's address: the mail must not carry an advertisement under our sender.
    #[test]
    fn greeting_repeats_only_what_looks_like_a_name() {
        assert_eq!(greeting("Ada Lovelace"), "Hello Ada Lovelace,");
        assert_eq!(greeting("WIN 1000 EUR: https://evil.example"), "Hello,");
    }

    #[test]
    fn unknown_decline_reasons_are_not_shown() {
        let mail = PaymentFailed { reason: "stolen_card".to_owned() }.write(&view()).expect("a mail");
        assert!(!mail.text.contains("stolen"), "{}", mail.text);
    }

    #[test]
    fn currency_with_unknown_decimals_is_refused() {
        assert_eq!(money(4998, "EUR").expect("a currency"), "49.98 EUR");
        assert!(matches!(money(1, "ZZZ"), Err(Unwritable::Currency(_))));
    }

    #[test]
    fn line_amount_is_price_times_quantity_with_the_currencys_decimals() {
        let order = Intent {
            order_id: uuid::Uuid::nil(),
            message_id: String::new(),
            is_done: false,
            number: "K7Q2M9XB4T".to_owned(),
            name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
            total: 3600,
            currency: "JPY".to_owned(),
            created_at: chrono::Utc::now(),
        };
        let view = View::new(&order, &[Item::new("Tea bowl", 3, 1200)], String::new()).expect("a view");
        assert_eq!(view.lines[0].amount, "3600 JPY");
        assert_eq!(view.total, "3600 JPY");
    }
}
