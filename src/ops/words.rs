//! Words and tables that several commands use.

use std::io::{self, Write};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain;

/// How wide a line may get, in characters: what fits two windows side by side.
const WIDTH: usize = 100;

/// A length of time as people say it, two units at most: `35 ms`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`.
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

/// A time as it stands in tables: `2026-11-23 03:12:04.123`, UTC.
#[must_use]
pub fn at(time: &DateTime<Utc>) -> String {
    time.format("%F %T%.3f").to_string()
}

/// A time within a sentence: `03:12:04 UTC`, with its day where that is not the day of `now`.
#[must_use]
pub fn clock(time: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let today = time.date_naive() == now.date_naive();
    time.format(if today { "%T UTC" } else { "%F %T UTC" }).to_string()
}

/// `1 message`, `2 messages`.
#[must_use]
pub fn count(number: impl Into<i64>, what: &str) -> String {
    let number = number.into();
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `once`, `twice`, `3 times`.
#[must_use]
pub fn times(number: i32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// `29.98 EUR`; minor units where the currency's decimals are not known.
#[must_use]
pub fn money(minor_units: i64, currency: &str) -> String {
    domain::format_money(minor_units, currency).unwrap_or_else(|| format!("{minor_units} {currency} (minor units)"))
}

/// Writes rows in aligned columns, two characters from the left; the last column is broken over several lines where it
/// would be too wide.
///
/// # Errors
/// Those of `out`.
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

/// Writes `text` behind `start`, its further lines below its first.
///
/// # Errors
/// Those of `out`.
pub fn wrapped(out: &mut impl Write, start: &str, text: &str) -> io::Result<()> {
    let indent = start.chars().count();
    // However far to the right it begins, some words fit on a line.
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
    fn lengths_of_time_have_two_units_at_most() {
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
    fn a_long_last_column_goes_on_below_itself() {
        let mut out = Vec::new();
        let rows = [["1".to_owned(), "word ".repeat(30)], ["22".to_owned(), String::new()]];
        table(&mut out, ["n", "what"], &rows).expect("a Vec can be written to");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH && line.trim_end() == line), "{text}");
        assert!(text.starts_with("  n   what\n  1   word word"), "{text}");
        assert!(text.lines().nth(2).expect("a third line").starts_with("      word"), "{text}");
    }
}
