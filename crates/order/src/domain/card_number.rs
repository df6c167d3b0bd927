//! Recognises card numbers, whatever separators and digit forms they are written with.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// An issuer's numbers: the ranges of their first digits, and their possible lengths in digits.
struct Issuer {
    first: &'static [(u32, u32)],
    lengths: &'static [usize],
}

/// The issuers' ranges, from Braintree's `credit-card-type` 10 (npm). It leaves out ranges that would match other
/// numbers that customers write into addresses:
/// - Visa's and Maestro's 12 and 13 digits, which are no longer issued: German EANs begin with 4, British ones with 50.
///   Likewise Maestro's and UnionPay's 14 and 15 digits, the length of an EAN with an extra digit in front.
/// - Visa's 18 digits, which no bank uses and which shipping container codes (SSCC) have.
/// - Maestro's prefixes that no card actually has.
const ISSUERS: [Issuer; 9] = [
    // Visa, including some of Elo's numbers.
    Issuer { first: &[(4, 4)], lengths: &[16, 19] },
    // Mastercard
    Issuer { first: &[(51, 55), (2221, 2720)], lengths: &[16] },
    // American Express
    Issuer { first: &[(34, 34), (37, 37)], lengths: &[15] },
    // Diners Club
    Issuer { first: &[(300, 305), (36, 36), (38, 39)], lengths: &[14, 16, 19] },
    // Discover, RuPay
    Issuer { first: &[(6011, 6011), (644, 649), (65, 65), (60, 60), (81, 82), (508, 508)], lengths: &[16, 19] },
    // JCB
    Issuer { first: &[(3528, 3589), (2131, 2131), (1800, 1800)], lengths: &[16, 17, 18, 19] },
    // UnionPay
    Issuer { first: &[(62, 62)], lengths: &[16, 17, 18, 19] },
    // Maestro
    Issuer {
        first: &[(5018, 5018), (5020, 5020), (5038, 5038), (5893, 5893), (63, 63), (67, 67)],
        lengths: &[16, 17, 18, 19],
    },
    // Elo, Hipercard, Verve, Mir
    Issuer { first: &[(5041, 5041), (5060, 5099), (6370, 6376), (2200, 2204)], lengths: &[16, 17, 18, 19] },
];

/// The maximum number of digits in a card number (ISO/IEC 7812).
const MOST_DIGITS: usize = 19;

/// The most characters between two digits of one number: ` - `. Digits further apart belong to different numbers.
const WIDEST_GAP: usize = 3;

/// The zero of each script whose decimal digits our customers' keyboards can type and NFKC does not convert: Arabic,
/// Persian, Devanagari, Bengali, Gurmukhi, Gujarati, Oriya, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan,
/// Burmese, Khmer, Mongolian.
const ZEROS: [u32; 17] = [
    0x0660, 0x06F0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0, 0x0F20,
    0x1040, 0x17E0, 0x1810,
];

/// Returns whether `text` contains a number with an issuer's prefix and length and a valid check digit. Anything but
/// letters may separate the digits.
///
/// A number begins and ends at the edge of a group of digits. Other groups may come before and after it.
#[must_use]
pub fn looks_like_card_number(text: &str) -> bool {
    runs(text).iter().filter(|run| !run.is_iban()).any(|run| {
        let mut rest = run.groups.as_slice();
        while let [_, tail @ ..] = rest {
            if starts_with_one(rest) {
                return true;
            }
            rest = tail;
        }
        false
    })
}

/// Groups of digits without a letter or a wide gap between them.
#[derive(Default)]
struct Run {
    /// The letters right before the first digit.
    sign: String,
    groups: Vec<String>,
}

impl Run {
    /// Returns whether it is a bank account number, such as DE89 3704 0044 0532 0130 00 (ISO 13616). Written in groups
    /// of four, one IBAN in twenty contains groups that would pass as a card number.
    fn is_iban(&self) -> bool {
        let digits = self.groups.concat();
        if self.sign.len() != 2 || digits.len() > 32 {
            return false;
        }
        let (check, account) = digits.split_at(2.min(digits.len()));
        let sign = self.sign.chars().filter_map(|letter| letter.to_digit(36)).map(|value| value.to_string());
        let number = format!("{account}{}{check}", sign.collect::<String>());
        number.chars().filter_map(|digit| digit.to_digit(10)).fold(0, |rest, digit| (rest * 10 + digit) % 97) == 1
    }
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs = vec![Run::default()];
    let mut sign = String::new();
    let mut gap = WIDEST_GAP + 1;
    for character in text.nfkc() {
        if let Some(digit) = digit(character) {
            if gap > WIDEST_GAP {
                runs.push(Run { sign: std::mem::take(&mut sign), groups: Vec::new() });
            }
            let Some(run) = runs.last_mut() else { continue };
            match run.groups.last_mut() {
                Some(group) if gap == 0 => group.push(digit),
                _ => run.groups.push(String::from(digit)),
            }
            gap = 0;
            continue;
        }
        match character.general_category_group() {
            GeneralCategoryGroup::Letter => {
                sign.push(character);
                gap = WIDEST_GAP + 1;
                continue;
            }
            // Invisible characters, and marks such as a keycap's, do not widen the gap.
            GeneralCategoryGroup::Other | GeneralCategoryGroup::Mark => gap = gap.max(1),
            _ => gap += 1,
        }
        sign.clear();
    }
    runs
}

/// Returns the ASCII form of a decimal digit of any script.
fn digit(character: char) -> Option<char> {
    let value = ZEROS.iter().find_map(|zero| u32::from(character).checked_sub(*zero).filter(|value| *value < 10));
    value.map_or_else(|| character.is_ascii_digit().then_some(character), |value| char::from_digit(value, 10))
}

fn starts_with_one(groups: &[String]) -> bool {
    let mut digits = String::new();
    for group in groups {
        digits.push_str(group);
        if digits.len() > MOST_DIGITS {
            return false;
        }
        if is_issued(&digits) && luhn(&digits) {
            return true;
        }
    }
    false
}

fn is_issued(digits: &str) -> bool {
    let begins = |(low, high): &(u32, u32)| {
        let first = digits.get(..low.to_string().len()).and_then(|first| first.parse().ok());
        first.is_some_and(|first: u32| (*low..=*high).contains(&first))
    };
    ISSUERS.iter().any(|issuer| issuer.lengths.contains(&digits.len()) && issuer.first.iter().any(begins))
}

/// Checks the check digit of ISO/IEC 7812-1: from the right, every second digit counts double.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, digit)| if place.is_multiple_of(2) { digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
#[path = "card_number_tests.rs"]
mod tests;
