//! The report of the search and its result, as text and JSON.

use std::{io::Write, time::Duration};

use chrono::Utc;
use orderflow_events::timestamp;
use serde_json::json;

use super::plan::{AT_MOST, Plan, Plans};
use crate::ops::{
    Exit, Failed,
    words::{are, some, wrapped},
};

/// A run of the command.
pub struct Report {
    /// What to do, and then what was done.
    pub plans: Plans,
    /// Whether the search reached its end.
    pub complete: bool,
    /// Unapplied deliveries that are too young to count as missing.
    pub younger: usize,
    /// Queues whose missing deliveries are unknown.
    pub untracked: Vec<String>,
    /// The age below which a delivery is too young.
    pub arrival: Duration,
    /// Whether to send nothing.
    pub dry_run: bool,
}

impl Report {
    fn sum(&self, of: impl Fn(&Plan) -> usize) -> usize {
        self.plans.values().map(of).sum()
    }

    /// Returns the question to confirm before anything is sent; `None` if there is nothing to do.
    pub fn question(&self) -> Option<String> {
        match (self.sum(Plan::sendable), self.sum(Plan::nothing_to_send)) {
            (0, 0) => None,
            (send, 0) => Some(format!("Republish {send}?")),
            (0, nothing) => Some(format!("Take {nothing} off the list of dead letters?")),
            (send, nothing) => Some(format!("Republish {send}, and take {nothing} off the list of dead letters?")),
        }
    }

    /// Writes what is missing.
    pub fn print_found(&self, out: &mut impl Write) -> Result<(), Failed> {
        if self.plans.is_empty() {
            writeln!(out, "Nothing is missing.")?;
        }
        for (queue, plan) in &self.plans {
            print(queue, plan, out)?;
        }
        if !self.complete {
            writeln!(out, "There may be more: the search stopped after about {AT_MOST}. Run this command again.")?;
        }
        if !self.untracked.is_empty() {
            let note = format!(
                "Not tracked: {}. These services do not record in the inbox what they have applied, so missing deliveries cannot be \
                 found.",
                some(&self.untracked)
            );
            wrapped(out, "", &note)?;
        }
        if self.younger > 0 {
            let (is, young) = (are(self.younger, "delivery"), humantime::format_duration(self.arrival));
            let note = format!(
                "Not searched: the events of the last {young} (RECONCILE_AFTER): {is} not applied yet, and may be on \
                 the way or lost. Run this command again in {young}."
            );
            wrapped(out, "", &note)?;
        }
        Ok(())
    }

    /// Writes the result.
    pub fn conclude(&self, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
        let (sendable, nothing) = (self.sum(Plan::sendable), self.sum(Plan::nothing_to_send));
        let (sent, taken_off) = (self.sum(|plan| plan.sent), self.sum(|plan| plan.taken_off));
        let refused = self.plans.values().any(|plan| plan.refused.is_some() || plan.still_there.is_some());
        let well = self.dry_run || sent == sendable;
        if json {
            self.write_json(out)?;
            return Ok(if well && !refused { Exit::Ok } else { Exit::No });
        }
        let (done, taken, would) = if self.dry_run { (sendable, nothing, "would be ") } else { (sent, taken_off, "") };
        if done > 0 || self.dry_run {
            writeln!(out, "{done} {would}sent.")?;
        }
        if taken > 0 {
            writeln!(out, "{taken} {would}taken off the list of dead letters.")?;
        }
        if !well {
            let unsent = sendable - sent;
            writeln!(out, "{unsent} could not be sent: RabbitMQ did not confirm them. Run this command again.")?;
        }
        Ok(if well && !refused { Exit::Ok } else { Exit::No })
    }

    fn write_json(&self, out: &mut impl Write) -> Result<(), Failed> {
        let queue = |(queue, plan): (&String, &Plan)| {
            json!({
                "queue": queue, "missing": plan.found.len(), "purged": plan.listed.len(), "sent": plan.sent,
                "taken_off": plan.taken_off, "refused": plan.refused, "purged_refused": plan.still_there,
            })
        };
        let report = json!({
            "schema_version": 1, "generated_at": timestamp::format(&Utc::now()), "dry_run": self.dry_run,
            "complete": self.complete, "not_tracked": self.untracked, "younger": self.younger, "younger_than_seconds": self.arrival.as_secs_f64(), "queues": self.plans.iter().map(queue).collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        Ok(writeln!(out)?)
    }
}

fn print(queue: &str, plan: &Plan, out: &mut impl Write) -> Result<(), Failed> {
    if !plan.found.is_empty() {
        writeln!(out, "{queue}: {} missing", plan.found.len())?;
    }
    if !plan.listed.is_empty() {
        let what = if plan.still_there.is_none() { "purged" } else { "listed as dead letters" };
        writeln!(out, "{queue}: {} {what}", plan.listed.len())?;
    }
    let nothing = plan.nothing_to_send();
    if nothing > 0 {
        writeln!(out, "    {nothing} of them without an event in the log: only taken off the list")?;
    }
    for why in [&plan.refused, &plan.still_there].into_iter().flatten() {
        writeln!(out, "    not sent: {why}")?;
    }
    Ok(())
}
