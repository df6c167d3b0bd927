//! Groups dead letters by queue and reason, so that a thousand of the same failure take one line.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use serde::Serialize;

use crate::broker::DeadLetter;

/// Replaces the parts of a reason that differ from message to message.
const DIFFERS: char = '…';

/// Dead letters of one queue with the same reason.
#[derive(Debug, Serialize)]
pub struct Group {
    /// The dead-letter queue.
    pub queue: String,
    /// The reason; an ellipsis replaces ids and numbers that differ.
    pub reason: String,
    /// The number of messages.
    pub messages: usize,
    /// The number of distinct orders.
    pub orders: usize,
    /// When the first was dead-lettered.
    #[serde(serialize_with = "optional_time")]
    pub oldest: Option<DateTime<Utc>>,
    /// When the last was dead-lettered.
    #[serde(serialize_with = "optional_time")]
    pub newest: Option<DateTime<Utc>>,
    /// The id of one of the messages.
    pub example: String,
}

fn optional_time<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => timestamp::serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Returns the groups by queue, and within a queue the largest first.
pub fn groups(dead_letters: &[DeadLetter]) -> Vec<Group> {
    let mut by_pattern: BTreeMap<(String, String), Vec<&DeadLetter>> = BTreeMap::new();
    for letter in dead_letters {
        let key = (letter.subscription.dead_letter_queue(), pattern(&letter.reason));
        by_pattern.entry(key).or_default().push(letter);
    }
    let mut groups: Vec<_> = by_pattern
        .into_iter()
        .filter_map(|((queue, pattern), dead_letters)| group(queue, pattern, &dead_letters))
        .collect();
    groups.sort_by(|one, other| one.queue.cmp(&other.queue).then(other.messages.cmp(&one.messages)));
    groups
}

fn group(queue: String, pattern: String, dead_letters: &[&DeadLetter]) -> Option<Group> {
    let first = dead_letters.first()?;
    // The full reason, if all messages share it.
    let same = dead_letters.iter().all(|letter| letter.reason == first.reason);
    let orders: HashSet<_> = dead_letters.iter().filter_map(|letter| letter.order_id).collect();
    let times = || dead_letters.iter().filter_map(|letter| letter.died_at);
    Some(Group {
        queue,
        reason: if same { first.reason.clone() } else { pattern },
        messages: dead_letters.len(),
        orders: orders.len(),
        oldest: times().min(),
        newest: times().max(),
        example: first.id.clone(),
    })
}

/// Returns a reason without the parts that differ from message to message: words that contain a digit, such as ids,
/// numbers and durations.
#[must_use]
pub fn pattern(reason: &str) -> String {
    let is_of_word = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    let mut pattern = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let end = if is_of_word(first) {
            rest.find(|character| !is_of_word(character)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(end);
        if word.chars().any(|character| character.is_ascii_digit()) {
            // A reader sees 1.5 and 127.0.0.1 as one number.
            if !pattern.ends_with(DIFFERS) {
                let joined = pattern.strip_suffix('.').filter(|before| before.ends_with(DIFFERS)).map(str::to_owned);
                pattern = joined.unwrap_or_else(|| format!("{pattern}{DIFFERS}"));
            }
        } else {
            pattern.push_str(word);
        }
        rest = after;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_numbers_do_not_split_a_group() {
        for (reason, expected) in [
            ("order 0198f1c2-7c00-7000-8000-000000000001 does not exist", "order … does not exist"),
            ("no answer within 1.5s from 127.0.0.1:4711", "no answer within … from …:…"),
            ("the handler panicked while it acted", "the handler panicked while it acted"),
            ("pm_card_flaky is busy (2 of 3)", "pm_card_flaky is busy (… of …)"),
            ("é1. Ende.", "…. Ende."),
            ("", ""),
        ] {
            assert_eq!(pattern(reason), expected);
            assert_eq!(pattern(expected), expected, "a pattern is its own pattern");
        }
    }
}
