//! Walks a JSON body and remembers everything that is wrong with it, so that a client corrects all of it at once.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{self, Flaw};

/// The most errors that one answer names. A pointer has at most 256 bytes and a detail less, so that an answer stays
/// below 64 KiB whatever the body was.
pub const MOST_ERRORS: usize = 100;

/// The longest pointer, in bytes. Names of the client's own are shortened so that it fits.
const LONGEST_POINTER: usize = 256;

/// The most bytes of a pointer that one name of the client's own takes.
const LONGEST_NAME: usize = 96;

/// Stands for what is left out of a pointer: `…` as a URI fragment has it.
const LEFT_OUT: &str = "%E2%80%A6";

/// What a URI fragment cannot hold as it is (RFC 3986), and `%`.
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Declares [`ErrorCode`] so that a code and its name stand beside each other and no list can miss one.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal;)+) => {
        /// What kind of mistake a field has. Public: the `code` of an entry in a problem's `errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in a problem.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }
        }
    };
}

error_codes! {
    /// Missing, or null.
    Required => "required";
    /// Nothing of this name belongs here.
    UnknownField => "unknown_field";
    /// Not the JSON type that is expected.
    WrongType => "wrong_type";
    /// Nothing that can be seen.
    Blank => "blank";
    /// Too many characters.
    TooLong => "too_long";
    /// A line break, a tab, or another control character.
    ControlCharacter => "control_character";
    /// A character that nobody sees, or one that turns other text around.
    InvisibleCharacter => "invisible_character";
    /// A number outside its bounds.
    OutOfRange => "out_of_range";
    /// A list with too few or too many elements.
    WrongCount => "wrong_count";
    /// Not an e-mail address.
    InvalidEmail => "invalid_email";
    /// An e-mail address that many mail servers cannot take.
    UnmailableEmail => "unmailable_email";
    /// Not a phone number.
    InvalidPhone => "invalid_phone";
    /// Not a postal code of the country.
    InvalidPostalCode => "invalid_postal_code";
    /// Not an ISO 3166-1 alpha-2 code in upper case.
    InvalidCountry => "invalid_country";
    /// Not the name of a payment method.
    InvalidMethod => "invalid_method";
    /// Looks like a card number.
    CardNumberRefused => "card_number_refused";
    /// A key that its object has twice.
    DuplicateKey => "duplicate_key";
    /// Nested too deeply.
    TooDeep => "too_deep";
    /// The same product twice.
    DuplicateSku => "duplicate_sku";
    /// The shop has no such product.
    UnknownSku => "unknown_sku";
    /// There is not that much of it.
    OutOfStock => "out_of_stock";
    /// Products that cannot be paid together.
    MixedCurrencies => "mixed_currencies";
    /// The sum is too large to be charged.
    TotalTooLarge => "total_too_large";
    /// It costs something else than its customer was shown.
    TotalChanged => "total_changed";
    /// The sum is below what the payment provider charges.
    TotalTooSmall => "total_too_small";
    /// The payment provider cannot charge such a fraction of the currency, or does not take the currency.
    TotalNotChargeable => "total_not_chargeable";
    /// Not an order of the same customer whose payment was declined.
    NotReplaceable => "not_replaceable";
}

/// One thing that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: a JSON pointer as a URI fragment, `#/items/0/quantity`.
    pub pointer: String,
    /// What kind of mistake, for programs: `out_of_range`.
    pub code: &'static str,
    /// A sentence for people; nothing personal in it.
    pub detail: Cow<'static, str>,
}

/// What is wrong so far: the first mistake of each field.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<FieldError>,
}

impl Errors {
    /// Remembers a mistake, unless this field has one already or there are [`MOST_ERRORS`].
    pub fn add(&mut self, pointer: &str, code: ErrorCode, detail: impl Into<Cow<'static, str>>) {
        if self.list.len() < MOST_ERRORS && self.list.iter().all(|error| error.pointer != pointer) {
            self.list.push(FieldError { pointer: pointer.to_owned(), code: code.as_str(), detail: detail.into() });
        }
    }

    /// Nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// For the answer.
    #[must_use]
    pub fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

/// The pointer to a field of an object. A name that the client made up is shortened, and hidden if it looks like a card number.
#[must_use]
pub fn child(pointer: &str, name: &str) -> String {
    let mut shown = String::new();
    if domain::looks_like_card_number(name) {
        LEFT_OUT.clone_into(&mut shown);
    } else {
        // Character by character: an escape must not be cut in two.
        for character in name.chars() {
            let escaped = escaped(character);
            if shown.len() + escaped.len() > LONGEST_NAME {
                shown.push_str(LEFT_OUT);
                break;
            }
            shown.push_str(&escaped);
        }
    }
    bounded(pointer, &shown)
}

/// The pointer to an element of a list.
#[must_use]
pub fn element(pointer: &str, index: usize) -> String {
    bounded(pointer, &index.to_string())
}

fn escaped(character: char) -> String {
    match character {
        '~' => "~0".to_owned(),
        '/' => "~1".to_owned(),
        _ => utf8_percent_encode(character.encode_utf8(&mut [0; 4]), FRAGMENT).to_string(),
    }
}

/// `pointer/part`, or where that is too long the pointer with a sign that something is left out.
fn bounded(pointer: &str, part: &str) -> String {
    if pointer.len() + 1 + part.len() <= LONGEST_POINTER - 1 - LEFT_OUT.len() {
        format!("{pointer}/{part}")
    } else if pointer.ends_with(LEFT_OUT) && pointer.len() > LONGEST_POINTER - LONGEST_NAME {
        pointer.to_owned()
    } else {
        format!("{pointer}/{LEFT_OUT}")
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Found<'v> {
    /// Where.
    pub pointer: String,
    /// What; never null.
    pub value: &'v Value,
}

impl<'v> Found<'v> {
    /// A text of 1 to `longest` characters as it is stored; see [`domain::tidy`].
    pub fn text(&self, longest: usize, errors: &mut Errors) -> Option<String> {
        let Some(text) = self.value.as_str() else {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be a text.");
            return None;
        };
        if text.chars().count() > longest {
            errors.add(&self.pointer, ErrorCode::TooLong, format!("Must have at most {longest} characters."));
            return None;
        }
        let (code, detail) = match domain::tidy(text) {
            Ok(tidy) => return Some(tidy),
            Err(Flaw::Blank) => (ErrorCode::Blank, "Must not be empty."),
            Err(Flaw::ControlCharacter) => {
                (ErrorCode::ControlCharacter, "Must not contain line breaks or control characters.")
            }
            Err(Flaw::InvisibleCharacter) => {
                (ErrorCode::InvisibleCharacter, "Contains an invisible character: type it again instead of pasting it.")
            }
        };
        errors.add(&self.pointer, code, detail);
        None
    }

    /// A whole number from `low` to `high`.
    pub fn number(&self, low: i32, high: i32, errors: &mut Errors) -> Option<i32> {
        let Some(number) = self.value.as_number() else {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be a whole number.");
            return None;
        };
        let number = match number.as_i64() {
            Some(number) => number,
            None if number.is_u64() => i64::MAX,
            None => {
                errors.add(&self.pointer, ErrorCode::WrongType, "Must be a whole number.");
                return None;
            }
        };
        let fitting = i32::try_from(number).ok().filter(|number| (low..=high).contains(number));
        if fitting.is_none() {
            // Only a number that is too short for a card number is repeated.
            let got = if number.unsigned_abs() < 1_000_000_000_000 { format!("; got {number}") } else { String::new() };
            errors.add(&self.pointer, ErrorCode::OutOfRange, format!("Must be {low} to {high}{got}."));
        }
        fitting
    }

    /// A list of `low` to `high` elements; of one that is too long, the first `high`.
    pub fn list(&self, low: usize, high: usize, errors: &mut Errors) -> Vec<Found<'v>> {
        let Some(elements) = self.value.as_array() else {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be a list.");
            return Vec::new();
        };
        if !(low..=high).contains(&elements.len()) {
            let detail = format!("Must have {low} to {high} elements; got {}.", elements.len());
            errors.add(&self.pointer, ErrorCode::WrongCount, detail);
        }
        let found = |(index, value)| Found { pointer: element(&self.pointer, index), value };
        elements.iter().enumerate().take(high).map(found).collect()
    }

    /// An object, whose fields are then asked for one by one.
    pub fn object(&self, errors: &mut Errors) -> Object<'v> {
        let fields = self.value.as_object();
        if fields.is_none() {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be an object.");
        }
        Object { pointer: self.pointer.clone(), fields, asked: Vec::new() }
    }
}

/// An object that is being read. Where it is missing itself, which is one error, its fields are not missed too.
#[derive(Debug)]
pub struct Object<'v> {
    pointer: String,
    fields: Option<&'v Map<String, Value>>,
    asked: Vec<&'static str>,
}

impl<'v> Object<'v> {
    /// The body itself.
    pub fn body(value: &'v Value, errors: &mut Errors) -> Self {
        Found { pointer: "#".to_owned(), value }.object(errors)
    }

    /// A field that may be absent or null.
    pub fn optional(&mut self, name: &'static str) -> Option<Found<'v>> {
        self.asked.push(name);
        let value = self.fields?.get(name).filter(|value| !value.is_null())?;
        Some(Found { pointer: child(&self.pointer, name), value })
    }

    /// A field that may be absent, null or an empty text: forms send the fields that nobody filled in as `""`.
    pub fn optional_entry(&mut self, name: &'static str) -> Option<Found<'v>> {
        self.optional(name).filter(|found| found.value.as_str().is_none_or(|text| !text.trim().is_empty()))
    }

    /// A field that has to be there.
    pub fn required(&mut self, name: &'static str, errors: &mut Errors) -> Option<Found<'v>> {
        let found = self.optional(name);
        if found.is_none() && self.fields.is_some() {
            errors.add(&child(&self.pointer, name), ErrorCode::Required, "Must be given.");
        }
        found
    }

    /// A field that has to be there and be an object.
    pub fn object(&mut self, name: &'static str, errors: &mut Errors) -> Self {
        match self.required(name, errors) {
            Some(found) => found.object(errors),
            None => Self { pointer: child(&self.pointer, name), fields: None, asked: Vec::new() },
        }
    }

    /// A text that has to be there.
    pub fn text(&mut self, name: &'static str, longest: usize, errors: &mut Errors) -> Option<String> {
        self.required(name, errors)?.text(longest, errors)
    }

    /// A text that may be absent, null or empty; the outer `None` where it is wrong.
    pub fn optional_text(&mut self, name: &'static str, longest: usize, errors: &mut Errors) -> Option<Option<String>> {
        match self.optional_entry(name) {
            None => Some(None),
            Some(found) => found.text(longest, errors).map(Some),
        }
    }

    /// Every field has been asked for: the others do not belong here.
    pub fn finish(self, errors: &mut Errors) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if !self.asked.contains(&name.as_str()) {
                errors.add(&child(&self.pointer, name), ErrorCode::UnknownField, "There is no such field.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_is_escaped_and_hides_a_card_number() {
        assert_eq!(child("#", "a/b~c d"), "#/a~1b~0c%20d");
        assert!(!child("#", "4242.4242.4242.4242").contains("4242"));
    }

    #[test]
    fn pointer_is_bounded_whatever_the_names_are() {
        assert_eq!(child("#", &"x".repeat(96)), format!("#/{}", "x".repeat(96)));
        assert_eq!(child("#", &"x".repeat(97)), format!("#/{}{LEFT_OUT}", "x".repeat(96)));
        assert_eq!(child("#", &"😀".repeat(64)), format!("#/{}{LEFT_OUT}", "%F0%9F%98%80".repeat(8)));
        let (mut deep, mut wide) = ("#".to_owned(), "#".to_owned());
        for index in 0..500 {
            deep = child(&deep, &"😀".repeat(index % 20));
            wide = element(&wide, index);
            assert!(deep.len() <= LONGEST_POINTER && wide.len() <= LONGEST_POINTER, "{deep} {wide}");
        }
        assert!(deep.contains(LEFT_OUT), "{deep}");
    }

    #[test]
    fn a_field_has_one_error_and_a_body_a_hundred() {
        let mut errors = Errors::default();
        errors.add("#/a", ErrorCode::Required, "first");
        errors.add("#/a", ErrorCode::Blank, "second");
        assert_eq!(errors.list.iter().map(|error| error.code).collect::<Vec<_>>(), ["required"]);
        for number in 0..500 {
            errors.add(&element("#", number), ErrorCode::Blank, "");
        }
        assert_eq!(errors.into_list().len(), MOST_ERRORS);
    }
}
