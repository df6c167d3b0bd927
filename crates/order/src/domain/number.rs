//! The order number that customers quote on the phone.

use std::{fmt, str::FromStr};

use rand::RngExt as _;

/// Crockford's base-32 alphabet: it has no I, L, O or U, so that numbers are not misread or rude.
/// Source: <https://www.crockford.com/base32.html>
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Ten characters are 50 random bits. At a million orders a day, the first collision is expected after about six weeks.
/// The unique index refuses it, and the order is retried with another number.
const LENGTH: usize = 10;

/// Ten random Crockford base-32 characters, unique in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderNumber(String);

impl OrderNumber {
    /// Draws a new number. The database checks that it is unique.
    #[must_use]
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self(
            (0..LENGTH)
                .filter_map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())))
                .map(|byte| char::from(*byte))
                .collect(),
        )
    }

    /// Returns the ten characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for text that cannot be an order number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order number has ten characters: digits, and letters except I, L, O and U")]
pub struct NotANumber;

impl FromStr for OrderNumber {
    type Err = NotANumber;

    /// Parses a number as people write it: in either case, with spaces or hyphens between groups, and with O for 0 and
    /// I or L for 1, which the alphabet does not have.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let mut number = String::with_capacity(LENGTH);
        for character in text.chars().filter(|character| !matches!(character, ' ' | '-')) {
            let read = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let known = u8::try_from(read).is_ok_and(|byte| ALPHABET.contains(&byte));
            if !known || number.len() == LENGTH {
                return Err(NotANumber);
            }
            number.push(read);
        }
        if number.len() == LENGTH { Ok(Self(number)) } else { Err(NotANumber) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_has_ten_characters_of_the_alphabet_and_differs_each_time() {
        let one = OrderNumber::random();
        assert_eq!(one.as_str().len(), LENGTH);
        assert!(one.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, OrderNumber::random());
    }

    #[test]
    fn number_is_parsed_as_people_write_it() {
        for text in ["4Z8K2M9Q10", "4z8k2m9q1o", "4Z8K2-M9QLO", " 4z8k2 m9qi0 "] {
            assert_eq!(text.parse::<OrderNumber>().as_ref().map(OrderNumber::as_str), Ok("4Z8K2M9Q10"), "{text:?}");
        }
        let drawn = OrderNumber::random();
        assert_eq!(drawn.as_str().parse(), Ok(drawn.clone()));
        for text in ["", "4Z8K2M9Q1", "4Z8K2M9Q100", "4Z8K2M9Q1U", "4Z8K2M9Q1é", "4Z8K2M9Q1!"] {
            assert_eq!(text.parse::<OrderNumber>(), Err(NotANumber), "{text:?}");
        }
    }
}
