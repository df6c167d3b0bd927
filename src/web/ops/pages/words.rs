//! Formats figures, times and states for pages. Templates pass every argument by reference.

use chrono::{DateTime, Utc};
use orderflow_order::domain::{OrderStatus, format_money};

use crate::ops::why::waiting::State;

/// Shown in place of an unknown value.
pub const UNKNOWN: &str = "–";

/// Returns a text as HTML, with text between backticks as code. The result is escaped; templates use it with `|safe`.
pub fn rich(text: &str) -> String {
    let last = text.matches('`').count();
    let part = |(place, part): (usize, &str)| {
        let escaped = escape(part);
        match place % 2 {
            1 if place < last => format!("<code>{escaped}</code>"),
            // The last backtick has no partner.
            1 => format!("'{escaped}"),
            _ => escaped,
        }
    };
    text.split('`').enumerate().map(part).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Formats a number that may be unknown.
pub fn number(number: &Option<u32>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

/// Formats a number of messages that may be unknown.
pub fn messages(number: &Option<i64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

/// Formats a rate, with one decimal below 10.
pub fn rate(rate: &Option<f64>) -> String {
    rate.map_or_else(
        || UNKNOWN.to_owned(),
        |rate| if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") },
    )
}

/// Formats a duration in seconds.
pub fn seconds(seconds: &Option<f64>) -> String {
    seconds.map_or_else(|| UNKNOWN.to_owned(), crate::ops::words::short_span)
}

/// Formats a time in UTC: `2026-11-23 22:04:05`.
pub fn at(time: &DateTime<Utc>) -> String {
    time.format("%F %T").to_string()
}

/// Formats a time that may be unknown.
pub fn maybe_at(time: &Option<DateTime<Utc>>) -> String {
    time.as_ref().map_or_else(|| UNKNOWN.to_owned(), at)
}

/// Formats an amount; in minor units if the currency's decimals are unknown.
pub fn money(minor_units: &i64, currency: &str) -> String {
    format_money(*minor_units, currency).unwrap_or_else(|| format!("{minor_units} {currency}"))
}

/// Returns a status or state in plain words.
pub fn plain(text: &str) -> String {
    text.replace(['_', '-'], " ")
}

/// Returns the CSS class of an order's status.
pub fn status(status: &str) -> &'static str {
    match status.parse::<OrderStatus>() {
        Ok(OrderStatus::Shipped | OrderStatus::InTransit | OrderStatus::Delivered) => "good",
        Ok(OrderStatus::PaymentFailed | OrderStatus::Cancelled) => "bad",
        Ok(OrderStatus::Cancelling | OrderStatus::ActionRequired) => "warn",
        _ => "info",
    }
}

/// Returns the CSS class of the state of a replay or an action.
pub fn outcome(state: &str) -> &'static str {
    match state {
        "done" => "good",
        "failed" | "abandoned" => "bad",
        "stopped" => "warn",
        _ => "info",
    }
}

/// Returns the CSS class of a waiting state.
pub const fn waiting(state: &State) -> &'static str {
    match state {
        State::Stuck | State::Parked | State::Discarded => "bad",
        State::Unpublished | State::Late | State::Retrying => "warn",
        State::UnderWay | State::Customer => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_code_and_nothing_becomes_markup() {
        for (text, expected) in [
            ("see `orderflow doctor`", "see <code>orderflow doctor</code>"),
            ("`a` and `b <c>`", "<code>a</code> and <code>b &lt;c&gt;</code>"),
            ("a <script> & \"it's\"", "a &lt;script&gt; &amp; &#34;it&#39;s&#34;"),
            ("a lonely ` one", "a lonely ' one"),
            ("`a` and a lonely ` one", "<code>a</code> and a lonely ' one"),
            ("", ""),
        ] {
            assert_eq!(rich(text), expected);
        }
    }
}
