//! The report as text and JSON.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use orderflow_service::store::outbox::Depth;
use serde::Serialize;

use super::{Queues, figures::Figures};
use crate::{
    ops::words::{count, numbers, short_span, wrapped},
    services::roster,
};

/// The version of [`Report`]'s JSON form. Adding a key does not change it; changing or removing one does.
const SCHEMA_VERSION: u32 = 1;

/// An event is published within this many seconds, if necessary by another process of its service: the outbox's ten,
/// and a margin.
const SOON: f64 = 15.0;

/// Stands for an unknown value in a table.
const UNKNOWN: &str = "-";

/// What `orderflow queues --json` writes.
#[derive(Debug, Serialize)]
pub struct Report {
    schema_version: u32,
    #[serde(with = "timestamp")]
    generated_at: DateTime<Utc>,
    queues: Vec<Figures>,
    /// Events that their services' processes have not published yet.
    unpublished: Vec<Unpublished>,
    /// What could not be read, and why.
    unavailable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Unpublished {
    event: String,
    /// The service whose processes publish it.
    service: String,
    rows: i64,
    oldest_seconds: f64,
}

impl Report {
    /// Builds the report from what was read.
    #[must_use]
    pub fn new(read: Queues) -> Self {
        let Queues { figures: queues, outbox, unavailable } = read;
        let unpublished = outbox.0.into_iter().map(|(event, Depth { rows, oldest_seconds })| Unpublished {
            service: roster().owner(&event).to_owned(),
            event,
            rows,
            oldest_seconds,
        });
        let unpublished = unpublished.collect();
        Self { schema_version: SCHEMA_VERSION, generated_at: Utc::now(), queues, unpublished, unavailable }
    }

    /// Returns whether everything could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unavailable.is_empty()
    }

    /// Writes the report as text.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let heads =
            ["queue", "ready", "held", "procs", "in/s", "out/s", "takes", "lag", "retry", "dead", "need", "drains in"];
        let rows: Vec<_> = self.queues.iter().map(row).collect();
        numbers(out, heads, &rows)?;
        let mut notes: Vec<String> = notes(&self.queues);
        let waits = self.unpublished.iter().filter(|one| one.oldest_seconds > SOON);
        notes.extend(waits.map(|one| {
            let (rows, age) = (count(one.rows, "event"), short_span(one.oldest_seconds));
            format!(
                "{}: {rows} not published, the oldest for {age}; the processes of {} publish them.",
                one.event, one.service
            )
        }));
        if !notes.is_empty() || !self.is_complete() {
            writeln!(out)?;
        }
        for note in notes {
            wrapped(out, "", &note)?;
        }
        for why in &self.unavailable {
            wrapped(out, "not read: ", why)?;
        }
        Ok(())
    }
}

fn row(one: &Figures) -> [String; 12] {
    let known = |number: Option<String>| number.unwrap_or_else(|| UNKNOWN.to_owned());
    let whole = |number: Option<u32>| known(number.map(|number| number.to_string()));
    let drains = match (one.drains, one.drain_seconds) {
        (Some(true), Some(seconds)) if seconds > 0.0 => short_span(seconds),
        (Some(true), _) => "empty".to_owned(),
        (Some(false), _) => "never".to_owned(),
        (None, _) => UNKNOWN.to_owned(),
    };
    [
        one.queue.clone(),
        whole(one.ready),
        whole(one.unacknowledged),
        whole(one.consumers),
        known(one.arrivals_per_second.map(rate)),
        known(one.handled_per_second.map(rate)),
        known(one.processing_seconds.map(short_span)),
        known(one.lag_seconds.map(short_span)),
        known(one.retries_waiting.map(|number| number.to_string())),
        whole(one.dead_letters),
        whole(one.processes_needed),
        drains,
    ]
}

/// Formats a rate for tables: `0`, `0.02`, `3.4`, `120`.
pub fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 0.095 => format!("{rate:.2}"),
        rate if rate < 99.95 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// Returns what needs to be done, a sentence each.
fn notes(queues: &[Figures]) -> Vec<String> {
    let mut notes = Vec::new();
    let idle: Vec<_> = queues.iter().filter(|one| one.consumers == Some(0)).collect();
    if idle.len() == queues.len() && !queues.is_empty() {
        notes.push("No worker is connected: start `orderflow-worker`.".to_owned());
    } else {
        notes.extend(idle.iter().map(|one| format!("{}: no consumer; start a worker for it.", one.queue)));
    }
    let paused: Vec<_> = queues.iter().filter(|one| one.paused == Some(true)).map(|one| one.queue.as_str()).collect();
    if !paused.is_empty() {
        notes.push(format!(
            "Paused when their workers last reported, up to ten seconds ago, because the provider is unavailable, or not connected yet; \
             more workers do not help: {}.",
            paused.join(", ")
        ));
    }
    for one in queues.iter().filter(|one| one.needs_more() && one.consumers != Some(0)) {
        let (needed, there) = (one.processes_needed.unwrap_or_default(), one.consumers.unwrap_or_default());
        let more = if one.drains == Some(false) { " At this rate it never drains." } else { "" };
        notes.push(format!("{}: needs {}, has {there}.{more}", one.queue, count(needed, "process")));
    }
    let dead: u32 = queues.iter().filter_map(|one| one.dead_letters).sum();
    if dead > 0 {
        notes.push(format!("{}: `orderflow dlq list` says why.", count(dead, "dead letter")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use orderflow_service::store::outbox::Depths;

    use super::*;

    fn rendered(report: &Report) -> String {
        let mut out = Vec::new();
        report.tell(&mut out).expect("a Vec can be written to");
        String::from_utf8(out).expect("it is text")
    }

    fn busy() -> Figures {
        Figures {
            queue: "shipping.order-cancel-requested".to_owned(),
            ready: Some(123_456),
            unacknowledged: Some(10_000),
            consumers: Some(10),
            paused: Some(false),
            arrivals_per_second: Some(1_234.5),
            handled_per_second: Some(0.034),
            failures_per_second: Some(0.0),
            processing_seconds: Some(0.85),
            lag_seconds: Some(86_399.0),
            retries_waiting: Some(100_000),
            dead_letters: Some(1),
            processes_needed: Some(12),
            drains: Some(false),
            drain_seconds: None,
        }
    }

    #[test]
    fn table_fits_and_is_followed_by_advice() {
        let paused = Figures {
            queue: "payment.order-created".to_owned(),
            ready: Some(4),
            consumers: Some(1),
            paused: Some(true),
            ..Figures::default()
        };
        let idle = Figures { queue: "email.order-created".to_owned(), consumers: Some(0), ..Figures::default() };
        let why = "RabbitMQ's management API at http://127.0.0.1:1/ cannot be reached".to_owned();
        let outbox = Depths([("payment.completed".to_owned(), Depth { rows: 3, oldest_seconds: 75.0 })].into());
        let text =
            rendered(&Report::new(Queues { figures: vec![paused, busy(), idle], outbox, unavailable: vec![why] }));
        assert!(text.lines().all(|line| line.chars().count() <= 120 && line.trim_end() == line), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn healthy_queues_get_no_advice() {
        let fine = Figures { consumers: Some(12), drains: Some(true), drain_seconds: Some(75.0), ..busy() };
        let text = rendered(&Report::new(Queues {
            figures: vec![Figures { dead_letters: Some(0), ..fine }],
            ..Queues::default()
        }));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.trim_end().ends_with("1m15s"), "{text}");
    }

    #[test]
    fn rate_keeps_significant_digits() {
        let rendered: Vec<_> = [0.0, 0.02, 0.1, 3.42, 99.94, 120.4, 1_234.5].into_iter().map(rate).collect();
        assert_eq!(rendered, ["0", "0.02", "0.1", "3.4", "99.9", "120", "1234"]);
    }
}
