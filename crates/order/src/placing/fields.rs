//! Walks a JSON body and collects every error in it, so that a client can correct them all in one go.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{self, Flaw};

/// The most errors in one answer. A pointer has at most 256 bytes and a detail fewer, so an answer stays below 64 KiB
/// for any body.
pub const MOST_ERRORS: usize = 100;

/// The maximum length of a pointer, in bytes. Field names that the client invented are shortened to fit.
const LONGEST_POINTER: usize = 256;

/// The maximum length of one such field name in a pointer, in bytes.
const LONGEST_NAME: usize = 96;

/// Marks an omission in a pointer: `…`, encoded for a URI fragment.
const LEFT_OUT: &str = "%E2%80%A6";

/// The characters that must be escaped in a URI fragment (RFC 3986), and `%`.
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

/// Declares [`ErrorCode`], so that each code is next to its name and no list can omit one.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal;)+) => {
        /// The kind of error in a field. Part of the contract: the `code` of an entry in a problem's `errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the code's name in a problem.
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
    /// There is no field of this name.
    UnknownField => "unknown_field";
    /// Not the expected JSON type.
    WrongType => "wrong_type";
    /// No visible character.
    Blank => "blank";
    /// Too many characters.
    TooLong => "too_long";
    /// A line break, a tab, or another control character.
    ControlCharacter => "control_character";
    /// An invisible character, or one that changes the display order of other characters.
    InvisibleCharacter => "invisible_character";
    /// A number outside its bounds.
    OutOfRange => "out_of_range";
    /// A list with too few or too many elements.
    WrongCount => "wrong_count";
    /// Not an e-mail address.
    InvalidEmail => "invalid_email";
    /// An e-mail address that many mail servers do not accept.
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
    /// A key that occurs twice in its object.
    DuplicateKey => "duplicate_key";
    /// Nested too deeply.
    TooDeep => "too_deep";
    /// The same product twice.
    DuplicateSku => "duplicate_sku";
    /// The shop has no such product.
    UnknownSku => "unknown_sku";
    /// Not enough in stock.
    OutOfStock => "out_of_stock";
    /// Products in different currencies, which cannot be paid together.
    MixedCurrencies => "mixed_currencies";
    /// The sum is too large to be charged.
    TotalTooLarge => "total_too_large";
    /// The total differs from the one that the customer was shown.
    TotalChanged => "total_changed";
    /// The sum is below the payment provider's minimum.
    TotalTooSmall => "total_too_small";
    /// The payment provider cannot charge such a fraction of the currency, or does not support the currency.
    TotalNotChargeable => "total_not_chargeable";
    /// Not an order of the same customer whose payment was declined.
    NotReplaceable => "not_replaceable";
}

/// An error in a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as a JSON pointer in URI fragment form: `#/items/0/quantity`.
    pub pointer: String,
    /// The kind of error, for programs: `out_of_range`.
    pub code: &'static str,
    /// A sentence for human readers, without personal data.
    pub detail: Cow<'static, str>,
}

/// The errors found so far: the first one of each field.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<FieldError>,
}

impl Errors {
    /// Adds an error, unless this field already has one or there are already [`MOST_ERRORS`].
    pub fn add(&mut self, pointer: &str, code: ErrorCode, detail: impl Into<Cow<'static, str>>) {
        if self.list.len() < MOST_ERRORS && self.list.iter().all(|error| error.pointer != pointer) {
            self.list.push(FieldError { pointer: pointer.to_owned(), code: code.as_str(), detail: detail.into() });
        }
    }

    /// Returns whether there are no errors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the errors for the answer.
    #[must_use]
    pub fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

/// Returns the pointer to a field of an object. A long name is shortened, and one that looks like a card number is
/// hidden.
#[must_use]
pub fn child(pointer: &str, name: &str) -> String {
    let mut shown = String::new();
    if domain::looks_like_card_number(name) {
        LEFT_OUT.clone_into(&mut shown);
    } else {
        // Character by character, so that no escape is cut in two.
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

/// Returns the pointer to an element of a list.
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

/// Returns `pointer/part`, or, if that is too long, the pointer with a mark that something is omitted.
fn bounded(pointer: &str, part: &str) -> String {
    if pointer.len() + 1 + part.len() <= LONGEST_POINTER - 1 - LEFT_OUT.len() {
        format!("{pointer}/{part}")
    } else if pointer.ends_with(LEFT_OUT) && pointer.len() > LONGEST_POINTER - LONGEST_NAME {
        pointer.to_owned()
    } else {
        format!("{pointer}/{LEFT_OUT}")
    }
}

/// A value and its location.
#[derive(Debug)]
pub struct Found<'v> {
    /// The pointer to it.
    pub pointer: String,
    /// The value; never null.
    pub value: &'v Value,
}

impl<'v> Found<'v> {
    /// Reads a string of 1 to `longest` characters and returns it as it is stored; see [`domain::tidy`].
    pub fn text(&self, longest: usize, errors: &mut Errors) -> Option<String> {
        let Some(text) = self.value.as_str() else {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be a string.");
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

    /// Reads a whole number from `low` to `high`.
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
            // Quote the number only if it is too short for a card number.
            let got = if number.unsigned_abs() < 1_000_000_000_000 { format!("; got {number}") } else { String::new() };
            errors.add(&self.pointer, ErrorCode::OutOfRange, format!("Must be {low} to {high}{got}."));
        }
        fitting
    }

    /// Reads a list of `low` to `high` elements. Returns the first `high` elements of a longer list.
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

    /// Reads an object. The caller then reads its fields one by one.
    pub fn object(&self, errors: &mut Errors) -> Object<'v> {
        let fields = self.value.as_object();
        if fields.is_none() {
            errors.add(&self.pointer, ErrorCode::WrongType, "Must be an object.");
        }
        Object { pointer: self.pointer.clone(), fields, asked: Vec::new() }
    }
}

/// An object that is being read. If the object itself is missing, that is a single error: its fields are not reported.
#[derive(Debug)]
pub struct Object<'v> {
    pointer: String,
    fields: Option<&'v Map<String, Value>>,
    asked: Vec<&'static str>,
}

impl<'v> Object<'v> {
    /// Reads the body itself.
    pub fn body(value: &'v Value, errors: &mut Errors) -> Self {
        Found { pointer: "#".to_owned(), value }.object(errors)
    }

    /// Reads a field that may be absent or null.
    pub fn optional(&mut self, name: &'static str) -> Option<Found<'v>> {
        self.asked.push(name);
        let value = self.fields?.get(name).filter(|value| !value.is_null())?;
        Some(Found { pointer: child(&self.pointer, name), value })
    }

    /// Reads a field that may be absent, null or an empty string: forms send `""` for fields left empty.
    pub fn optional_entry(&mut self, name: &'static str) -> Option<Found<'v>> {
        self.optional(name).filter(|found| found.value.as_str().is_none_or(|text| !text.trim().is_empty()))
    }

    /// Reads a required field.
    pub fn required(&mut self, name: &'static str, errors: &mut Errors) -> Option<Found<'v>> {
        let found = self.optional(name);
        if found.is_none() && self.fields.is_some() {
            errors.add(&child(&self.pointer, name), ErrorCode::Required, "This field is required.");
        }
        found
    }

    /// Reads a required object.
    pub fn object(&mut self, name: &'static str, errors: &mut Errors) -> Self {
        match self.required(name, errors) {
            Some(found) => found.object(errors),
            None => Self { pointer: child(&self.pointer, name), fields: None, asked: Vec::new() },
        }
    }

    /// Reads a required string.
    pub fn text(&mut self, name: &'static str, longest: usize, errors: &mut Errors) -> Option<String> {
        self.required(name, errors)?.text(longest, errors)
    }

    /// Reads a string that may be absent, null or empty. The outer `None` means that it is invalid.
    pub fn optional_text(&mut self, name: &'static str, longest: usize, errors: &mut Errors) -> Option<Option<String>> {
        match self.optional_entry(name) {
            None => Some(None),
            Some(found) => found.text(longest, errors).map(Some),
        }
    }

    /// Reports every field that was not read as unknown.
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
    fn field_has_one_error_and_body_at_most_a_hundred() {
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
