//! The error object of Stripe's API.

use serde::Deserialize;

/// The fields of the API's error object that we use. The message is left out: it may repeat a customer's input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    param: Option<String>,
    #[serde(flatten)]
    pub card: CardError,
}

/// The bank's answer about a card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct CardError {
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub decline_code: Option<String>,
}

impl ApiError {
    pub fn code(&self) -> Option<&str> {
        self.card.code.as_deref()
    }

    /// Returns the parameter that caused the error.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }
}

impl CardError {
    /// Returns the reason as a word for the event. `generic_decline` is less specific than the code next to it.
    pub fn reason(&self) -> String {
        let telling = self.decline_code.as_deref().filter(|code| *code != "generic_decline");
        telling.or(self.code.as_deref()).and_then(word).unwrap_or("card_declined").to_owned()
    }
}

/// Returns the text if it is a word like Stripe's codes. Anything else must not reach our log and events.
pub(super) fn word(text: &str) -> Option<&str> {
    let is_word = (1..=64).contains(&text.len())
        && text.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'_');
    is_word.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_a_word_and_the_most_specific_one() {
        let error = |code: &str, decline: &str| CardError {
            code: Some(code.to_owned()),
            decline_code: Some(decline.to_owned()).filter(|text| !text.is_empty()),
        };
        assert_eq!(error("card_declined", "generic_decline").reason(), "card_declined");
        assert_eq!(error("card_declined", "lost_card").reason(), "lost_card");
        assert_eq!(error("expired_card", "").reason(), "expired_card");
        assert_eq!(error("Your card, Ada, was declined", "").reason(), "card_declined");
        assert_eq!(CardError::default().reason(), "card_declined");
    }

    #[test]
    fn only_words_pass() {
        assert_eq!(word("card_declined"), Some("card_declined"));
        for text in ["", "Ada Lovelace", "a\nb", &"x".repeat(65)] {
            assert_eq!(word(text), None, "{text:?}");
        }
    }
}
