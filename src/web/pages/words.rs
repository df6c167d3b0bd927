//! The texts that customers read about errors in the form and in the shop. The API's texts are for programmers; these
//! are for customers.

use std::borrow::Cow;

use orderflow_order::placing::fields::FieldError;

use super::cart::Cart;
use crate::web::problem::{Code, Problem};

/// An error in a field. The summary links to the field.
pub struct Mistake {
    /// The field's name, which is also its id; `cart` for the cart as a whole.
    pub field: String,
    /// The error, as a sentence.
    pub text: String,
}

/// A notice at the top of the page.
pub struct Notice {
    /// The CSS class: `bad` or `warn`.
    pub kind: &'static str,
    /// The title, in a few words.
    pub title: &'static str,
    /// What happened and what to do.
    pub text: Cow<'static, str>,
}

/// The error of each field when it is empty. The page passes the same texts to the script.
const MISSING: &[(&str, &str)] = &[
    ("name", "Enter your name."),
    ("email", "Enter your e-mail address."),
    ("line1", "Enter your street and number."),
    ("city", "Enter your town."),
    ("postal_code", "Enter your postal code."),
    ("country", "Choose a country."),
    ("method", "Choose a card."),
];

/// The error for an invalid e-mail address.
pub const WRONG_EMAIL: &str = "Enter an e-mail address such as ada@example.com.";

/// Returns the error of this field when it is empty.
pub fn missing(field: &str) -> &'static str {
    MISSING.iter().find(|(name, _)| *name == field).map_or("Enter something here.", |(_, text)| text)
}

/// Returns an error found by the rules of `POST /orders` in words for the form. `chosen` is the number of products in
/// the form.
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
        (Some(_), "unknown_sku") => "We do not sell this any more: it was removed from your cart.".to_owned(),
        (Some("replaces"), _) => "The declined order cannot be paid again. This will be a new order.".to_owned(),
        (_, "card_number_refused") => {
            "This looks like a card number. We never take card numbers: choose one of the test cards.".to_owned()
        }
        _ => error.detail.clone().into_owned(),
    };
    Mistake { field: field.unwrap_or_else(|| "cart".to_owned()), text }
}

/// The notice while nothing can be sold, because the catalogue has not been read yet.
pub const CLOSED: Notice = Notice {
    kind: "warn",
    title: "The shop cannot be shown just now",
    text: Cow::Borrowed("Nothing was ordered. Please try again in a moment."),
};

/// Returns the title and the text of a problem's own page. `shop` is the shop's address.
pub fn problem(problem: &Problem, shop: &str) -> (&'static str, String) {
    let (title, text) = match problem.code() {
        Code::NotFound => ("There is no such page", "Check the address, or start in the shop."),
        Code::MethodNotAllowed => ("This page cannot be opened by its address", "Start in the shop."),
        Code::BodyTooLarge => (
            "Your order was too large",
            "Nothing was ordered. Go back, remove something from your cart, and try again.",
        ),
        Code::RequestTimeout => {
            ("Your order did not arrive in full", "Nothing was ordered. Go back and press the button again.")
        }
        Code::UnsupportedMediaType | Code::MalformedJson | Code::InvalidParameter => {
            ("We could not read that", "Nothing was ordered. Start again in the shop.")
        }
        Code::ForeignOrigin => {
            let text = format!(
                "Nothing was ordered. Orders are accepted only from the shop's own page: open {shop} and order there. If \
                 you did, your browser does not send where the form came from: use a newer version or another browser."
            );
            return ("This did not come from our shop", text);
        }
        Code::Overloaded | Code::TooManyRequests => ("We are very busy just now", "Wait a moment and try again."),
        Code::DatabaseUnavailable | Code::NotReady => ("We cannot show this just now", "Try again in a moment."),
        _ => ("Something went wrong here", "We are looking into it. Try again in a while."),
    };
    (title, text.to_owned())
}

/// Returns the notice for a problem that does not concern a field.
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
            "You have already placed an order with this page",
            "Your mails have a link to it. If you also want to order what is in the cart now, press the button once more.",
        ),
        Code::IdempotencyKeyInvalid => {
            ("warn", "This page was too old", "Nothing was ordered. Press the button once more.")
        }
        _ => ("bad", "Something went wrong here", "We are looking into it. Your cart is kept: try again in a while."),
    };
    Notice { kind, title, text: text.into() }
}

/// Returns the notice for a total that differs from the one shown. `shown` is in minor units; 0 if the page showed
/// none, as without scripts.
pub fn total_changed(shown: i64, cart: &Cart) -> Notice {
    let total = cart.total.as_deref().unwrap_or("–");
    let (title, text) = match cart.money(shown).filter(|_| shown > 0) {
        Some(shown) => ("The price has changed", format!("The total was {shown} and is now {total}.")),
        None => ("Please check the total", format!("Your order costs {total}.")),
    };
    let text = format!("{text} Nothing was ordered yet: press the button once more to order at this total.");
    Notice { kind: "warn", title, text: text.into() }
}
