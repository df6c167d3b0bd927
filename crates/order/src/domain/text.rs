//! Free text that customers type, such as names and address lines: one rule, based on Unicode categories.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Why a text is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It contains a line break, a tab or another control character.
    ControlCharacter,
    /// It contains an invisible character, or one that changes the display order of other characters.
    InvisibleCharacter,
    /// It has no visible character.
    Blank,
}

/// Letters without width. Unicode counts them as letters, but a name that consists of them looks empty.
const FILLERS: [char; 4] = ['\u{115F}', '\u{1160}', '\u{3164}', '\u{FFA0}'];

/// Marks that set the direction of the spaces and punctuation next to them. Hebrew and Arabic addresses with house
/// numbers need them. Unlike overrides they cannot reverse other text.
const DIRECTION_MARKS: [char; 3] = ['\u{200E}', '\u{200F}', '\u{061C}'];

/// Joiners. Persian and Indic names need them between letters, and emoji need them between pictures.
const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];

/// Returns the text as it is stored: in Unicode's normalization form C, trimmed, with single spaces.
///
/// # Errors
/// See [`Flaw`].
pub fn tidy(text: &str) -> Result<String, Flaw> {
    let mut before = None;
    for character in text.chars() {
        check(before, character)?;
        before = Some(character);
    }
    let composed: String = text.nfc().collect();
    let tidy = composed.split_whitespace().collect::<Vec<_>>().join(" ");
    if tidy.chars().any(is_visible) { Ok(tidy) } else { Err(Flaw::Blank) }
}

fn check(before: Option<char>, character: char) -> Result<(), Flaw> {
    use GeneralCategory as Category;
    match character.general_category() {
        Category::Control | Category::LineSeparator | Category::ParagraphSeparator => Err(Flaw::ControlCharacter),
        Category::Format if DIRECTION_MARKS.contains(&character) => Ok(()),
        Category::Format if JOINERS.contains(&character) && before.is_some_and(can_be_joined) => Ok(()),
        Category::Format | Category::PrivateUse | Category::Surrogate => Err(Flaw::InvisibleCharacter),
        // Other unassigned characters may become letters in a newer Unicode; these stay unassigned permanently.
        Category::Unassigned if u32::from(character) & 0xFFFE == 0xFFFE => Err(Flaw::InvisibleCharacter),
        _ if FILLERS.contains(&character) => Err(Flaw::InvisibleCharacter),
        _ => Ok(()),
    }
}

fn can_be_joined(character: char) -> bool {
    use GeneralCategoryGroup as Group;
    matches!(character.general_category_group(), Group::Letter | Group::Mark | Group::Symbol)
}

fn is_visible(character: char) -> bool {
    use GeneralCategoryGroup as Group;
    // U+2800 is a Braille cell without dots.
    let is_shown = !matches!(character.general_category_group(), Group::Other | Group::Mark | Group::Separator);
    is_shown && character != '\u{2800}'
}

/// The maximum length of a name that a mail repeats, in characters.
const LONGEST_NAME: usize = 60;

/// The most words of a name that a mail repeats.
const MOST_WORDS: usize = 6;

/// Returns the name if a mail may repeat it, that is, if it looks like a personal or company name.
///
/// Anyone can order in someone else's name, so the name that they type reaches a stranger's inbox under our sender. It
/// must not carry an advertisement. Only a few letters and the punctuation of names are allowed, and nothing that a
/// mail program turns into a link. Digits are not allowed either. Without a name the mail uses a neutral greeting.
#[must_use]
pub fn greetable(name: &str) -> Option<&str> {
    let is_of_names = |character: char| {
        let group = character.general_category_group();
        matches!(group, GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark)
            || " '’ʼ-‐.,&·".contains(character)
            || JOINERS.contains(&character)
            || DIRECTION_MARKS.contains(&character)
    };
    let fits = name.chars().count() <= LONGEST_NAME && name.split(' ').count() <= MOST_WORDS;
    let begins = name.chars().next().is_some_and(char::is_alphabetic);
    let is_one = fits && begins && name.chars().all(is_of_names) && !name.split([' ', ',', '&']).any(could_be_a_host);
    is_one.then_some(name)
}

/// Returns whether mail programs may turn this word into a link: `shop.example`, but not `St.` or `J.R.R.`.
fn could_be_a_host(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').filter(|label| !label.is_empty()).collect();
    labels.len() > 1 && labels.iter().any(|label| label.chars().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_composed_and_trimmed_to_single_spaces() {
        assert_eq!(tidy("  Zoe\u{308}\u{a0}\u{3000} Mu\u{308}ller ").as_deref(), Ok("Zoë Müller"));
    }

    #[test]
    fn names_and_addresses_of_the_world_are_accepted() {
        for text in [
            "Ada Lovelace",
            "José Núñez y Peña",
            "Nguyễn Thị Hương",
            "Łukasz Żółć",
            "李小龍",
            "김민수",
            "さくら",
            "محمد رضا",
            "علی\u{200c}رضا",
            "ශ්\u{200d}රී",
            "क्\u{200d}षितिज",
            "รัตน์",
            "ནོར་བུ",
            "דוד בן־גוריון",
            "רחוב הרצל 12\u{200f}",
            "O’Brien-Smith, Jr.",
            "3M",
            "1&1",
            "-",
            "Apt. #4 / B",
            "½ Mile House",
            "👩\u{200d}🚀 House",
        ] {
            let composed: String = text.nfc().collect();
            assert_eq!(tidy(text), Ok(composed), "{text}");
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for text in
            ["a\u{0}b", "a\nb", "a\tb", "London\r\nBcc: all", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "\u{1b}[31m"]
        {
            assert_eq!(tidy(text), Err(Flaw::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn invisible_and_direction_changing_characters_are_refused() {
        for text in [
            "\u{200b}",
            "Ada\u{200b}",
            "Ada \u{202e}moc.live",
            "\u{2066}Ada\u{2069}",
            "\u{feff}Ada",
            "A\u{ad}da",
            "A\u{2060}da",
            "\u{200d}Ada",
            "a \u{200c}b",
            "a\u{200d}\u{200d}b",
            "\u{3164}",
            "\u{115f}Ada",
            "\u{e000}",
            "Ada\u{e0041}",
            "\u{fffe}",
        ] {
            assert_eq!(tidy(text), Err(Flaw::InvisibleCharacter), "{text:?}");
        }
    }

    #[test]
    fn text_without_visible_characters_is_blank() {
        for text in ["", " ", "\u{a0}\u{2003}", "\u{301}", "\u{200e}", "\u{fe0f}", "\u{2800}"] {
            assert_eq!(tidy(text), Err(Flaw::Blank), "{text:?}");
        }
    }

    #[test]
    fn names_are_repeated_in_mails() {
        for name in [
            "Ada",
            "Ada Lovelace",
            "J.R.R. Tolkien",
            "Dr. Martin Luther King, Jr.",
            "Bob & Eve O'Hara",
            "Müller-Lüdenscheidt",
            "Anne ‐ Marie",
            "Nguyễn Thị Hương",
            "李小龍",
            "علی\u{200c}رضا",
            "रवि कुमार",
            "Maria do Céu",
            "Gal·la",
            "St. John",
        ] {
            assert_eq!(greetable(name), Some(name));
        }
    }

    #[test]
    fn advertisements_are_not_repeated_in_mails() {
        let long = "x".repeat(61);
        for name in [
            "WIN 1000 EUR: https://evil.example",
            "https://evil.example",
            "evil.example",
            "Visit evil.example now",
            "www.evil.example",
            "t.co",
            "Ada,evil.example",
            "Ada&evil.example",
            "evil．example",
            "evil。example",
            "evil․example",
            "mail me@evil.example",
            "evil/example",
            "<b>Bob</b>",
            "Call 0900 123456",
            "٠٩٠٠",
            "Free money!",
            "100 %",
            "$$$",
            "one two three four five six seven",
            "",
            " Ada",
            "-",
            &long,
        ] {
            assert_eq!(greetable(name), None, "{name}");
        }
    }
}
