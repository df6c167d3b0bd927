//! Formats text and tables for several commands.

use std::{
    io::{self, Write},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_order::domain;

/// The longest line, in characters: two windows fit side by side.
const WIDTH: usize = 100;

/// Formats a duration with two units at most: `35 ms`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`.
#[must_use]
pub fn span(time: TimeDelta) -> String {
    let sign = if time < TimeDelta::zero() { "-" } else { "" };
    let time = time.abs();
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{sign}{large} {unit}"),
        small => format!("{sign}{large} {unit} {small} {part}"),
    };
    match time.num_seconds() {
        0 => format!("{sign}{} ms", time.num_milliseconds()),
        seconds @ ..60 => format!("{sign}{seconds} s"),
        seconds @ ..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        seconds @ ..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        seconds => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Formats a time for tables: `2026-11-23 03:12:04.123`, UTC.
#[must_use]
pub fn at(time: &DateTime<Utc>) -> String {
    time.format("%F %T%.3f").to_string()
}

/// Formats a time for a sentence: `03:12:04 UTC`, with the date if it differs from that of `now`.
#[must_use]
pub fn clock(time: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let today = time.date_naive() == now.date_naive();
    time.format(if today { "%T UTC" } else { "%F %T UTC" }).to_string()
}

/// Formats a count: `1 message`, `2 messages`, `3 deliveries`, `4 processes`.
#[must_use]
pub fn count(number: impl TryInto<i64>, what: &str) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    match what.strip_suffix('y') {
        _ if number == 1 => format!("1 {what}"),
        Some(stem) => format!("{number} {stem}ies"),
        None if what.ends_with('s') => format!("{number} {what}es"),
        None => format!("{number} {what}s"),
    }
}

/// Formats a count and its verb: `1 message is`, `2 messages are`.
#[must_use]
pub fn are(number: impl TryInto<i64>, what: &str) -> String {
    let counted = count(number, what);
    let verb = if counted.starts_with("1 ") { "is" } else { "are" };
    format!("{counted} {verb}")
}

/// The most names in one sentence.
const NAMED: usize = 8;

/// Formats a list of names: `a, b and 3 more`.
#[must_use]
pub fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Formats a number of times: `once`, `twice`, `3 times`.
#[must_use]
pub fn times(number: i32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// Formats an amount: `29.98 EUR`; in minor units if the currency's decimals are not known.
#[must_use]
pub fn money(minor_units: i64, currency: &str) -> String {
    domain::format_money(minor_units, currency).unwrap_or_else(|| format!("{minor_units} {currency} (minor units)"))
}

/// Writes rows in aligned columns, indented by two characters. Wraps the last column if it would be too wide.
///
/// # Errors
/// Returns the errors of `out`.
pub fn table<const N: usize>(out: &mut impl Write, heads: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads = heads.map(str::to_owned);
    for row in std::iter::once(&heads).chain(rows) {
        let (last, cells) = row.split_last().map_or(("", row.as_slice()), |(last, cells)| (last.as_str(), cells));
        let mut line = String::from("  ");
        for (cell, &width) in cells.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        wrapped(out, &line, last)?;
    }
    Ok(())
}

/// Writes rows like [`table`], for numbers: every column but the first is right-aligned, and nothing is wrapped.
///
/// # Errors
/// Returns the errors of `out`.
pub fn numbers<const N: usize>(out: &mut impl Write, heads: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads = heads.map(str::to_owned);
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(
                |(column, (cell, &width))| {
                    if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Formats a duration in seconds for tables, six characters at most: `12ms`, `1.2s`, `45s`, `3m20s`, `2h10m`, `4d`.
#[must_use]
pub fn short_span(seconds: f64) -> String {
    if seconds < 0.9995 {
        return format!("{:.0}ms", seconds * 1_000.0);
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let time =
        TimeDelta::from_std(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).unwrap_or(TimeDelta::MAX);
    match time.num_seconds() {
        whole @ ..60 => format!("{whole}s"),
        whole @ ..3_600 => format!("{}m{}s", whole / 60, whole % 60),
        whole @ ..86_400 => format!("{}h{}m", whole / 3_600, whole % 3_600 / 60),
        whole @ ..86_400_000 => format!("{}d", whole / 86_400),
        _ => "ages".to_owned(),
    }
}

/// Writes `text` after `start`; continuation lines are aligned with the first.
///
/// # Errors
/// Returns the errors of `out`.
pub fn wrapped(out: &mut impl Write, start: &str, text: &str) -> io::Result<()> {
    let indent = start.chars().count();
    // However far right it begins, leave room for some words on each line.
    let room = WIDTH.saturating_sub(indent).max(WIDTH / 3);
    let (mut line, mut lead) = (String::new(), start.to_owned());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            writeln!(out, "{lead}{line}")?;
            (line, lead) = (String::new(), " ".repeat(indent));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{}", format!("{lead}{line}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_has_the_right_number() {
        let counts =
            [count(1_u32, "message"), count(2_usize, "delivery"), count(0_u64, "process"), are(1_i64, "piece")];
        assert_eq!(counts, ["1 message", "2 deliveries", "0 processes", "1 piece is"]);
        assert_eq!(are(11_u32, "event"), "11 events are");
    }

    #[test]
    fn span_has_two_units_at_most() {
        for (milliseconds, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (-35, "-35 ms"),
            (12_400, "12 s"),
            (60_000, "1 min"),
            (250_000, "4 min 10 s"),
            (11_100_000, "3 h 5 min"),
            (86_400_000, "1 d"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(span(TimeDelta::milliseconds(milliseconds)), expected);
        }
    }

    #[test]
    fn short_span_has_six_characters_at_most() {
        for (seconds, expected) in [
            (0.0, "0ms"),
            (0.0124, "12ms"),
            (0.9996, "1.0s"),
            (1.24, "1.2s"),
            (10.4, "10s"),
            (45.9, "45s"),
            (200.0, "3m20s"),
            (3_599.0, "59m59s"),
            (7_800.0, "2h10m"),
            (400_000.0, "4d"),
            (1e30, "ages"),
        ] {
            assert_eq!(short_span(seconds), expected);
        }
    }

    #[test]
    fn long_last_column_is_wrapped_and_aligned() {
        let mut out = Vec::new();
        let rows = [["1".to_owned(), "word ".repeat(30)], ["22".to_owned(), String::new()]];
        table(&mut out, ["n", "what"], &rows).expect("a Vec can be written to");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH && line.trim_end() == line), "{text}");
        assert!(text.starts_with("  n   what\n  1   word word"), "{text}");
        assert!(text.lines().nth(2).expect("a third line").starts_with("      word"), "{text}");
    }
}
