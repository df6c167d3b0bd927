//! Texts that several of the commands say.

use std::io::Write;

use super::{More, Snapshot, count, group::groups};
use crate::ops::Failed;

/// What is chosen, by queue and reason.
pub fn selected(snapshot: &Snapshot, out: &mut impl Write) -> Result<(), Failed> {
    for group in groups(&snapshot.letters) {
        writeln!(out, "{:>6} × {}: {}", group.messages, group.queue, group.reason)?;
    }
    notes(snapshot, out)
}

/// What was not looked at.
pub fn notes(snapshot: &Snapshot, out: &mut impl Write) -> Result<(), Failed> {
    for More { queue, more, .. } in &snapshot.more {
        let more = usize::try_from(*more).unwrap_or(usize::MAX);
        writeln!(out, "note: {queue} has {} more that were not looked at: run this again", count(more, "message"))?;
    }
    for note in &snapshot.unavailable {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// Nothing was chosen.
pub const NOTHING: &str = "No dead letter is like that: `orderflow dlq list` shows what there is.";

/// An order that is not there.
pub fn no_such_order(text: &str) -> String {
    format!("there is no order {text}: give its id or its number")
}

/// `1 is`, `2 are`.
pub fn is_are(number: usize) -> String {
    if number == 1 { "1 is".to_owned() } else { format!("{number} are") }
}

/// `1 was`, `2 were`.
pub fn was_were(number: usize) -> String {
    if number == 1 { "1 was".to_owned() } else { format!("{number} were") }
}

/// What one does, or many do.
pub const fn stays(number: usize) -> &'static str {
    if number == 1 { "it stays" } else { "they stay" }
}
