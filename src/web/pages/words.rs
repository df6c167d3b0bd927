//! What people read when something they entered, or something here, is not right. The API's words are for those who write
//! programs; these are for those who only want a mug.

use std::borrow::Cow;

use orderflow_order::placing::fields::FieldError;

use super::cart::Cart;
use crate::web::problem::{Code, Problem};

/// What to say of a field, and which the summary leads to.
pub struct Mistake {
    /// The field's name, which is also its id; `cart` for the cart as a whole.
    pub field: String,
    /// A sentence.
    pub text: String,
}

/// What to say above everything else.
pub struct Notice {
    /// `bad` or `warn`, as in the stylesheet.
    pub kind: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// What to do.
    pub text: Cow<'static, str>,
}

/// Each text field of the form and what is said where it is empty; the page has the same words for the script.
const MISSING: &[(&str, &str)] = &[
    ("name", "Enter your name."),
    ("email", "Enter your e-mail address."),
    ("line1", "Enter your street and number."),
    ("city", "Enter your town."),
    ("postal_code", "Enter your postal code."),
    ("country", "Choose a country."),
    ("method", "Choose a card."),
];

/// What is said of what is no e-mail address.
pub const WRONG_EMAIL: &str = "Enter an e-mail address such as ada@example.com.";

/// What is said where this field is empty.
pub fn missing(field: &str) -> &'static str {
    MISSING.iter().find(|(name, _)| *name == field).map_or("Enter something here.", |(_, text)| text)
}

/// A mistake that the rules of `POST /orders` found, in words for this field of a form in which so many products are chosen.
pub fn mistake(field: Option<String>, error: &FieldError, chosen: usize) -> Mistake {
    let text = match (field.as_deref(), error.code) {
        (None, "wrong_count") if chosen == 0 => "Your cart is empty: choose at least one thing.".to_owned(),
        (None, "wrong_count") => {
            format!(
                "One order has at most 50 different things, and you have chosen {chosen}. Order the rest separately."
            )
        }
        (Some("country"), "invalid_country") | (Some(_), "required" | "blank") => {
            missing(field.as_deref().unwrap_or_default()).to_owned()
        }
        (Some("email"), "invalid_email") => WRONG_EMAIL.to_owned(),
        (Some("email"), "unmailable_email") => {
            "Many mail servers cannot send to this address: enter one with only a to z, digits and signs before the @."
                .to_owned()
        }
        (Some("phone"), "invalid_phone") => "Enter a phone number such as +49 30 1234567, or none.".to_owned(),
        (Some("postal_code"), "invalid_postal_code") => "Enter a postal code of the country that you chose.".to_owned(),
        (Some(_), "invisible_character") => "Type this again: it contains a character that cannot be seen.".to_owned(),
        (Some(_), "control_character") => "Type this again, in one line.".to_owned(),
        (Some(_), "wrong_type" | "out_of_range") => "Choose a whole number from 1 to 99.".to_owned(),
        (Some(_), "unknown_sku") => "We do not sell this any more: it was taken out of your cart.".to_owned(),
        (Some("replaces"), _) => {
            "The order that was declined cannot be paid again. This will be a new order.".to_owned()
        }
        (_, "card_number_refused") => {
            "This looks like a card number. We never take card numbers: choose one of the test cards.".to_owned()
        }
        _ => error.detail.clone().into_owned(),
    };
    Mistake { field: field.unwrap_or_else(|| "cart".to_owned()), text }
}

/// What is said while nothing can be sold, because the catalogue could not be read yet.
pub const CLOSED: Notice = Notice {
    kind: "warn",
    title: "The shop cannot be shown just now",
    text: Cow::Borrowed("Nothing was ordered. Please try again in a moment."),
};

/// What is said on a page of its own: a title, and what to do. The shop is at `shop`.
pub fn problem(problem: &Problem, shop: &str) -> (&'static str, String) {
    let (title, text) = match problem.code() {
        Code::NotFound => ("There is no such page", "Check the address, or start in the shop."),
        Code::MethodNotAllowed => ("This page cannot be opened by its address", "Start in the shop."),
        Code::BodyTooLarge => (
            "That was too much at once",
            "Nothing was ordered. Go back, take something out of your cart, and try again.",
        ),
        Code::RequestTimeout => {
            ("Your order did not arrive in full", "Nothing was ordered. Go back and press the button again.")
        }
        Code::UnsupportedMediaType | Code::MalformedJson | Code::InvalidParameter => {
            ("We could not read that", "Nothing was ordered. Start again in the shop.")
        }
        Code::ForeignOrigin => {
            let text = format!(
                "Nothing was ordered. Orders are taken from the shop's own page only: open {shop} and order there. If you \
                 come from there, your browser does not say so: another one, or a newer version, does."
            );
            return ("This did not come from our shop", text);
        }
        Code::Overloaded | Code::TooManyRequests => ("We are very busy just now", "Wait a moment and try again."),
        Code::DatabaseUnavailable | Code::NotReady => ("We cannot show this just now", "Try again in a moment."),
        _ => ("Something went wrong here", "We are looking into it. Try again in a while."),
    };
    (title, text.to_owned())
}

/// What is said of a problem that is none of a field.
pub fn notice(problem: &Problem) -> Notice {
    let (kind, title, text) = match problem.code() {
        Code::Overloaded | Code::TooManyRequests => (
            "warn",
            "We are very busy just now",
            "Your order was not placed and nothing was charged. Your cart is kept: wait a moment and press the button again.",
        ),
        Code::DatabaseUnavailable | Code::RequestInProgress | Code::NotReady => (
            "warn",
            "We cannot tell yet whether your order was placed",
            "Wait a moment and press the button again: it will be one order, however often you press.",
        ),
        Code::IdempotencyKeyReused => (
            "warn",
            "You have placed an order with this page already",
            "Your mails have a link to it. If you want to order what is in the cart now as well, press the button once more.",
        ),
        Code::IdempotencyKeyInvalid => {
            ("warn", "This page was too old", "Nothing was ordered. Press the button once more.")
        }
        _ => ("bad", "Something went wrong here", "We are looking into it. Your cart is kept: try again in a while."),
    };
    Notice { kind, title, text: text.into() }
}

/// What is said where the cart costs something else than the page showed, in minor units; 0 where it showed nothing, as
/// without scripts.
pub fn total_changed(shown: i64, cart: &Cart) -> Notice {
    let total = cart.total.as_deref().unwrap_or("–");
    let (title, text) = match cart.money(shown).filter(|_| shown > 0) {
        Some(shown) => ("The price has changed", format!("Your order was to cost {shown} and costs {total} now.")),
        None => ("Please check the total", format!("Your order costs {total}.")),
    };
    let text = format!("{text} Nothing was ordered yet: press the button once more to order at this price.");
    Notice { kind: "warn", title, text: text.into() }
}
