//! The order number that people read out on the phone.

use std::fmt;

use rand::RngExt as _;

/// Crockford's base-32 alphabet: no I, L, O or U, so nothing is misheard, misread or rude.
/// Source: <https://www.crockford.com/base32.html>
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Ten characters are 50 random bits: at a million orders a day, a first collision is expected after about
/// a month; the unique index refuses it and the order is tried again with another number.
const LENGTH: usize = 10;

/// Ten random Crockford base-32 characters, unique in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderNumber(String);

impl OrderNumber {
    /// Draws a new number. Whether it is unique is for the database to say.
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

    /// A number as a person typed it, in the letters that numbers are made of: Crockford's alphabet takes o for 0, i
    /// and l for 1, and small letters. Whether there is such a number is for the database to say.
    #[must_use]
    pub fn as_typed(text: &str) -> String {
        let letter = |letter: char| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        text.trim().chars().map(letter).collect()
    }

    /// The ten characters.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_ten_characters_of_the_alphabet_and_differs_each_time() {
        let one = OrderNumber::random();
        assert_eq!(one.as_str().len(), LENGTH);
        assert!(one.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, OrderNumber::random());
    }

    #[test]
    fn a_number_may_be_typed_carelessly() {
        assert_eq!(OrderNumber::as_typed(" oil7k2m9qw "), "0117K2M9QW");
    }
}
