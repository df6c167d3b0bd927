//! The report as text and JSON: what can be archived, what stays and why, and what was moved.

use std::{collections::BTreeMap, io::Write};

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use serde_json::json;

use crate::{
    ops::{
        Failed,
        words::{count, numbers, wrapped},
    },
    store::retention::{Moved, Share},
};

/// A run of the command.
#[derive(Debug)]
pub struct Report {
    /// Whether to move nothing.
    pub dry_run: bool,
    /// What was moved.
    pub moved: Moved,
    before: DateTime<Utc>,
    /// What can be archived, or could before it was moved.
    can_go: Totals,
    /// Orders that stay, by reason.
    kept: BTreeMap<String, i64>,
}

/// The rows of some orders.
#[derive(Debug, Default)]
struct Totals {
    orders: i64,
    log: Part,
    inbox: Part,
    oldest: Option<DateTime<Utc>>,
}

/// Their rows in one table; bytes are those of rows, without indexes.
#[derive(Debug, Default, Clone, Copy)]
struct Part {
    rows: i64,
    bytes: i64,
}

impl Report {
    /// Returns an empty report.
    pub fn new(before: DateTime<Utc>, dry_run: bool) -> Self {
        Self { dry_run, moved: Moved::default(), before, can_go: Totals::default(), kept: BTreeMap::new() }
    }

    /// Adds the shares of some orders, and the rows that were moved.
    pub fn add(&mut self, shares: Vec<Share>, moved: Moved) {
        for share in shares {
            let Some(reason) = share.reason else {
                let total = &mut self.can_go;
                total.orders += share.orders;
                total.log.rows += share.events;
                total.log.bytes += share.event_bytes;
                total.inbox.rows += share.applied;
                total.inbox.bytes += share.applied_bytes;
                total.oldest = total.oldest.into_iter().chain(share.oldest).min();
                continue;
            };
            *self.kept.entry(reason).or_default() += share.orders;
        }
        self.moved.orders += moved.orders;
        self.moved.events += moved.events;
        self.moved.applied += moved.applied;
    }

    /// Writes the report.
    pub fn tell(&self, json: bool, out: &mut impl Write) -> Result<(), Failed> {
        if json {
            serde_json::to_writer_pretty(&mut *out, &self.json())?;
            return Ok(writeln!(out)?);
        }
        let before = self.before.format("%F %T UTC");
        if self.can_go.orders == 0 {
            writeln!(out, "Of the orders before {before}, none can be archived.")?;
        } else {
            let be = if self.dry_run { "would be" } else { "could be" };
            writeln!(out, "Of the orders before {before}, {} {be} archived:\n", self.can_go.orders)?;
            self.table(out)?;
            writeln!(out)?;
        }
        self.stay(out)?;
        if self.dry_run {
            let hint = "Nothing was changed. With --yes the log's rows move to messaging.event_archive, each with the names of \
                        the subscriptions that have applied it, in place of the inbox's rows. `orderflow why` and `orderflow \
                        audit` read both.";
            return Ok(wrapped(out, "", hint)?);
        }
        let Moved { orders, events, applied } = self.moved;
        let (orders, events, applied) = (count(orders, "order"), count(events, "event"), count(applied, "row"));
        Ok(writeln!(out, "Archived: {orders} with {events}, and {applied} of the inbox.")?)
    }

    fn table(&self, out: &mut impl Write) -> Result<(), Failed> {
        let oldest = self.can_go.oldest.map_or_else(String::new, |time| time.format("%F").to_string());
        let row = |table: &str, part: Part| [table.to_owned(), part.rows.to_string(), size(part.bytes), oldest.clone()];
        let rows = [row("messaging.event_log", self.can_go.log), row("messaging.inbox", self.can_go.inbox)];
        Ok(numbers(out, ["table", "rows", "size", "oldest"], &rows)?)
    }

    fn stay(&self, out: &mut impl Write) -> Result<(), Failed> {
        for (reason, orders) in &self.kept {
            let (why, hint) = explained(reason);
            let stay = if *orders == 1 { "stays" } else { "stay" };
            let start = format!("{} {stay}: ", count(*orders, "older order"));
            wrapped(out, &start, &format!("{why}{hint}."))?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let oldest = self.can_go.oldest.map(|time| timestamp::format(&time));
        let part =
            |table, part: Part| json!({ "table": table, "rows": part.rows, "bytes": part.bytes, "oldest": oldest });
        let kept: Vec<_> = self.kept.iter().map(|(why, orders)| json!({ "reason": why, "orders": orders })).collect();
        json!({
            "schema_version": 1, "generated_at": timestamp::format(&Utc::now()), "dry_run": self.dry_run,
            "before": timestamp::format(&self.before), "orders": self.can_go.orders,
            "tables": [part("messaging.event_log", self.can_go.log), part("messaging.inbox", self.can_go.inbox)],
            "kept": kept,
            "moved": { "orders": self.moved.orders, "events": self.moved.events, "inbox": self.moved.applied },
        })
    }
}

/// Returns the meaning of a reason that the database returned, and what to do about it.
fn explained(reason: &str) -> (&str, &str) {
    match reason {
        "unfinished" => ("not shipped, failed or cancelled yet", "; `orderflow audit` names those that are stuck"),
        "recent" => ("something has happened to them since", ""),
        "behind" => ("their status is behind their history", "; `orderflow audit` names them"),
        "unpublished" => ("some of their events are not published", "; `orderflow doctor` says why"),
        "dead letter" => ("they have a dead letter", "; `orderflow dlq list` names it"),
        "retried" => ("an attempt to handle their events has failed since", ""),
        "not applied" => (
            "a subscription has not applied all of their events",
            "; `orderflow audit` names them, and `orderflow republish --missing` republishes them",
        ),
        other => (other, ""),
    }
}

/// Formats a number of bytes.
fn size(bytes: i64) -> String {
    let bytes = f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX));
    if bytes < 1_024.0 { format!("{bytes:.0} KiB") } else { format!("{:.1} MiB", bytes / 1_024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(reason: Option<&str>, orders: i64) -> Share {
        let oldest = DateTime::from_timestamp(1_700_000_000 - orders, 0);
        let reason = reason.map(str::to_owned);
        Share {
            reason,
            orders,
            events: 4 * orders,
            event_bytes: 2_000_000 * orders,
            applied: 9 * orders,
            applied_bytes: 700,
            oldest,
        }
    }

    #[test]
    fn parts_add_up_and_reasons_are_named() {
        let before = DateTime::from_timestamp(1_710_000_000, 0).expect("a time");
        let mut report = Report::new(before, true);
        report.add(vec![share(None, 2), share(Some("unfinished"), 1)], Moved::default());
        report.add(vec![share(None, 3), share(Some("dead letter"), 2)], Moved::default());
        let mut out = Vec::new();
        report.tell(false, &mut out).expect("a Vec can be written to");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.starts_with("Of the orders before 2024-03-09 16:00:00 UTC, 5 would be archived:\n"), "{text}");
        for line in [
            "messaging.event_log    20  9.5 MiB  2023-11-14",
            "messaging.inbox        45    1 KiB  2023-11-14",
            "2 older orders stay: they have a dead letter; `orderflow dlq list` names it.",
            "1 older order stays: not shipped",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(report.json()["tables"][0]["rows"], 20);
    }
}
