//! Which countries have postal codes, and what form they have.
//!
//! The rules are Google's, which Chrome and Android also use; `scripts/postal_codes.py` generates the table.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use regex_lite::Regex;
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

static RULES: LazyLock<HashMap<&str, Rule>> =
    LazyLock::new(|| include_str!("postal_codes.tsv").lines().filter_map(Rule::read).collect());

/// Whether a country's addresses need a postal code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every address has a postal code.
    Required,
    /// Addresses may have one.
    Optional,
    /// The country has no postal codes. A given code is accepted nevertheless: people make one up because other shops
    /// require it.
    None,
}

struct Rule {
    need: Need,
    pattern: &'static str,
    example: &'static str,
    /// Compiled on the country's first address, since most countries never have one.
    regex: OnceLock<Option<Regex>>,
}

impl Rule {
    fn read(line: &'static str) -> Option<(&'static str, Self)> {
        let mut fields = line.split('\t');
        let (country, need, pattern, example) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let need = match need {
            "required" => Need::Required,
            "optional" => Need::Optional,
            _ => Need::None,
        };
        Some((country, Self { need, pattern, example, regex: OnceLock::new() }))
    }

    fn matches(&self, bare: &str) -> bool {
        let compile =
            || (!self.pattern.is_empty()).then(|| Regex::new(&format!("^(?:{})$", self.pattern)).ok()).flatten();
        self.regex.get_or_init(compile).as_ref().is_none_or(|regex| regex.is_match(bare))
    }
}

/// Returns whether addresses in this country (ISO 3166-1 alpha-2) need a postal code. Optional for an unknown country.
#[must_use]
pub fn need(country: &str) -> Need {
    RULES.get(country).map_or(Need::Optional, |rule| rule.need)
}

/// Returns an example of this country's postal codes, for a message. Empty if there is none.
#[must_use]
pub fn example(country: &str) -> &'static str {
    RULES.get(country).map_or("", |rule| rule.example)
}

/// Returns the code in upper case and, as far as possible, in ASCII; `None` if it does not have the country's form.
///
/// Spaces and hyphens may be anywhere, and a country prefix may be in front, as in D-10115.
#[must_use]
pub fn normalize(country: &str, code: &str) -> Option<String> {
    let code = code.trim().nfkc().collect::<String>().to_uppercase();
    let (sign, rest) = code.split_once('-').unwrap_or_default();
    let is_signed = (1..=3).contains(&sign.len()) && sign.bytes().all(|byte| byte.is_ascii_uppercase());
    let fits = |code: &str| RULES.get(country).is_none_or(|rule| rule.matches(&bare(code)));
    (fits(&code) || is_signed && fits(rest)).then_some(code)
}

fn bare(code: &str) -> String {
    let separates = |character: char| {
        let is_dash = character.general_category() == GeneralCategory::DashPunctuation || character == '\u{2212}';
        character.is_whitespace() || is_dash
    };
    code.chars().filter(|character| !separates(*character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_a_rule_and_every_pattern_matches_its_example() {
        for country in rust_iso3166::ALL {
            let rule = RULES.get(country.alpha2).unwrap_or_else(|| panic!("no rule for {}", country.alpha2));
            let compiled = Regex::new(&format!("^(?:{})$", rule.pattern)).is_ok();
            assert!(compiled, "{}: {}", country.alpha2, rule.pattern);
            if !rule.pattern.is_empty() {
                assert_eq!(normalize(country.alpha2, rule.example).as_deref(), Some(rule.example));
            }
            assert!(rule.need != Need::Required || !rule.example.is_empty(), "{}", country.alpha2);
        }
    }

    #[test]
    fn countries_without_postal_codes_need_none() {
        for country in ["HK", "QA", "AE", "MO", "PA", "GH", "JM"] {
            assert_eq!(need(country), Need::None, "{country}");
            assert!(normalize(country, "00000").is_some(), "{country}");
        }
        assert_eq!(need("IE"), Need::Optional);
        for country in ["DE", "GB", "US", "JP", "NL", "IN", "BR"] {
            assert_eq!(need(country), Need::Required, "{country}");
        }
    }

    #[test]
    fn codes_are_accepted_as_people_write_them() {
        for (country, code, stored) in [
            ("DE", "10115", "10115"),
            ("DE", "D-10115", "D-10115"),
            ("DE", " 10115 ", "10115"),
            ("GB", "sw1y4jh", "SW1Y4JH"),
            ("GB", "SW1Y 4JH", "SW1Y 4JH"),
            ("US", "95014", "95014"),
            ("US", "22162-1010", "22162-1010"),
            ("US", "22162 1010", "22162 1010"),
            ("CA", "h3z2y7", "H3Z2Y7"),
            ("PL", "00950", "00950"),
            ("PT", "2725–079", "2725–079"),
            ("JP", "１５４－００２３", "154-0023"),
            ("NL", "1234ab", "1234AB"),
            ("SE", "114 55", "114 55"),
            ("LV", "1073", "1073"),
            ("CH", "CH-8001", "CH-8001"),
            ("IE", "D02 X285", "D02 X285"),
            ("BR", "40301110", "40301110"),
        ] {
            assert_eq!(normalize(country, code).as_deref(), Some(stored), "{country} {code}");
        }
    }

    #[test]
    fn codes_of_another_form_are_refused() {
        for (country, code) in [
            ("DE", "1011"),
            ("DE", "101155"),
            ("DE", "SW1Y 4JH"),
            ("GB", "10115"),
            ("US", "9501"),
            ("US", "ABCDE"),
            ("CA", "12345"),
            ("IE", "D02"),
            ("DE", "x-10115-y"),
            ("DE", ""),
        ] {
            assert_eq!(normalize(country, code), None, "{country} {code}");
        }
    }
}
