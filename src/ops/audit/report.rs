//! The result as text and JSON. Its size is bounded, however much is wrong.

use std::{collections::BTreeMap, io::Write};

use chrono::Utc;
use orderflow_events::timestamp;
use orderflow_service::audit::Rule;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    catalogue,
    delivery::Parked,
    finding::{Finding, Named},
};
use crate::ops::{
    Exit, Failed,
    words::{are, count, span},
};

/// The version of the JSON. Adding a key does not change it; changing or removing one does.
const SCHEMA_VERSION: u32 = 1;

/// The findings so far.
pub struct Report {
    /// Orders that were audited.
    pub orders: usize,
    /// Whether these are all orders.
    pub complete: bool,
    limit: usize,
    began: Instant,
    shown: Vec<(Rule, Named, String)>,
    by_check: BTreeMap<&'static str, u64>,
    parked: Vec<(Named, Parked)>,
    parked_in_all: u64,
}

impl Report {
    /// Returns an empty report that keeps at most `limit` findings of each sort.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            orders: 0,
            complete: false,
            limit,
            began: Instant::now(),
            shown: Vec::new(),
            by_check: BTreeMap::new(),
            parked: Vec::new(),
            parked_in_all: 0,
        }
    }

    /// Adds a finding; beyond the limit, only counts it.
    pub fn add(&mut self, finding: Finding) {
        match finding {
            Finding::Violation { rule, of, what } => {
                *self.by_check.entry(rule.name).or_default() += 1;
                if self.shown.len() < self.limit {
                    self.shown.push((rule, of, what));
                }
            }
            Finding::Parked { order, parked } => {
                self.parked_in_all += 1;
                if self.parked.len() < self.limit {
                    self.parked.push((order, parked));
                }
            }
        }
    }

    /// Returns the number of violations in all.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.by_check.values().sum()
    }

    /// Returns the exit status: whether all checks hold.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.by_check.is_empty() { Exit::Ok } else { Exit::No }
    }

    /// Writes the report.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn tell(&self, json: bool, out: &mut impl Write) -> Result<(), Failed> {
        if json {
            serde_json::to_writer_pretty(&mut *out, &self.json())?;
            return Ok(writeln!(out)?);
        }
        for (rule, of, what) in &self.shown {
            writeln!(out, "{}: {of}: {what} -> {}", rule.name, remedy(rule, of))?;
        }
        for (order, parked) in &self.parked {
            let Parked { event_id, event, subscription, reason } = parked;
            let what = format!("{subscription} could not handle {event}, dead letter {event_id}: {reason}");
            writeln!(out, "parked: {order}: {what} -> {}", replay(order, parked))?;
        }
        self.tell_rest(out)?;
        Ok(writeln!(out, "{}", self.closing())?)
    }

    fn tell_rest(&self, out: &mut impl Write) -> Result<(), Failed> {
        let (shown, parked) = (as_u64(self.shown.len()), as_u64(self.parked.len()));
        if shown < self.violations() {
            let all: Vec<_> = self.by_check.iter().map(|(name, times)| format!("{times} {name}")).collect();
            let more = are(self.violations() - shown, "more violation");
            writeln!(out, "{more} not shown (--limit); in all: {}.", all.join(", "))?;
        }
        if parked < self.parked_in_all {
            let more = are(self.parked_in_all - parked, "more dead letter");
            writeln!(out, "{more} not shown (--limit): `orderflow dlq list`")?;
        }
        Ok(())
    }

    fn closing(&self) -> String {
        let took = chrono::TimeDelta::from_std(self.began.elapsed()).unwrap_or_default();
        let end = if self.complete { "." } else { " so far; the audit is incomplete." };
        let parked = match self.parked_in_all {
            0 => String::new(),
            some => format!(", {} waiting", count(some, "dead letter")),
        };
        let found = match self.violations() {
            0 if self.complete => "all holds".to_owned(),
            0 => "no violation".to_owned(),
            some => count(some, "violation"),
        };
        let (orders, checks) = (count(self.orders, "order"), catalogue::names().len());
        format!("Audited {orders} by {checks} checks in {}: {found}{parked}{end}", span(took))
    }

    fn json(&self) -> Value {
        let violation = |(rule, of, what): &(Rule, Named, String)| {
            json!(Violation { of, check: rule.name, what, remedy: remedy(rule, of) })
        };
        let parked =
            |(order, parked): &(Named, Parked)| json!(Waiting { order, parked, remedy: replay(order, parked) });
        json!({
            "schema_version": SCHEMA_VERSION, "generated_at": timestamp::format(&Utc::now()),
            "ok": self.complete && self.by_check.is_empty(), "complete": self.complete, "orders": self.orders,
            "seconds": self.began.elapsed().as_secs(), "checks": catalogue::names(),
            "violations_in_all": self.violations(), "by_check": self.by_check,
            "violations": self.shown.iter().map(violation).collect::<Vec<_>>(),
            "parked_in_all": self.parked_in_all, "parked": self.parked.iter().map(parked).collect::<Vec<_>>(),
        })
    }
}

#[derive(Serialize)]
struct Violation<'r> {
    #[serde(flatten)]
    of: &'r Named,
    check: &'static str,
    what: &'r str,
    remedy: String,
}

#[derive(Serialize)]
struct Waiting<'r> {
    #[serde(flatten)]
    order: &'r Named,
    #[serde(flatten)]
    parked: &'r Parked,
    remedy: String,
}

fn remedy(rule: &Rule, of: &Named) -> String {
    rule.remedy.replace("ORDER", &of.short())
}

fn replay(order: &Named, parked: &Parked) -> String {
    format!("fix the cause, then `orderflow dlq replay --queue {} --order {}`", parked.subscription, order.short())
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
