//! Texts that several of these commands share.

use std::io::Write;

use super::{More, Snapshot, group::groups};
use crate::ops::{Failed, words::count};

/// Writes the selected messages by queue and reason, then the notes.
pub fn selected(snapshot: &Snapshot, out: &mut impl Write) -> Result<(), Failed> {
    for group in groups(&snapshot.dead_letters) {
        writeln!(out, "{:>6} × {}: {}", group.messages, group.queue, group.reason)?;
    }
    notes(snapshot, out)
}

/// Writes what was not read.
pub fn notes(snapshot: &Snapshot, out: &mut impl Write) -> Result<(), Failed> {
    for More { queue, more, .. } in &snapshot.more {
        let more = usize::try_from(*more).unwrap_or(usize::MAX);
        writeln!(out, "note: {queue} has {} more that were not read: run this command again", count(more, "message"))?;
    }
    for note in &snapshot.unavailable {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// The message when nothing matches.
pub const NOTHING: &str = "No dead letter matches: `orderflow dlq list` shows all of them.";

/// Returns the message for an order that does not exist.
pub fn no_such_order(text: &str) -> String {
    format!("there is no order {text}: give its id or its number")
}

/// Formats a subject and its verb: `1 is`, `2 are`.
pub fn is_are(number: usize) -> String {
    if number == 1 { "1 is".to_owned() } else { format!("{number} are") }
}

/// Formats a subject and its verb: `1 was`, `2 were`.
pub fn was_were(number: usize) -> String {
    if number == 1 { "1 was".to_owned() } else { format!("{number} were") }
}

/// Returns `it stays` or `they stay`.
pub const fn stays(number: usize) -> &'static str {
    if number == 1 { "it stays" } else { "they stay" }
}
