//! The findings of a check-up, as text and JSON.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use serde::Serialize;

use crate::ops::{
    Exit,
    words::{count, wrapped},
};

/// The version of [`Checkup`]'s JSON form. Adding a key does not change it; changing or removing one does.
const SCHEMA_VERSION: u32 = 1;

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    check: &'static str,
    what: String,
    remedy: String,
}

/// Something that could not be checked.
#[derive(Debug, Clone, Serialize)]
pub struct Unavailable {
    check: &'static str,
    why: String,
}

/// Something that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    check: &'static str,
    seen: String,
}

/// The results, in the order of the checks.
#[derive(Debug, Serialize)]
pub struct Checkup {
    schema_version: u32,
    #[serde(with = "timestamp")]
    generated_at: DateTime<Utc>,
    ok: bool,
    findings: Vec<Finding>,
    unavailable: Vec<Unavailable>,
    checks: Vec<Seen>,
    #[serde(skip)]
    settings_are_wrong: bool,
}

impl Checkup {
    /// Returns an empty check-up.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            generated_at: Utc::now(),
            ok: true,
            findings: Vec::new(),
            unavailable: Vec::new(),
            checks: Vec::new(),
            settings_are_wrong: false,
        }
    }

    /// Adds a finding: what is wrong, and the remedy.
    pub fn found(&mut self, check: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.ok = false;
        self.findings.push(Finding { check, what: what.into(), remedy: remedy.into() });
    }

    /// Adds a missing or invalid setting.
    pub fn setting(&mut self, line: &str) {
        self.settings_are_wrong = true;
        self.found("settings", line, "`orderflow config` lists every setting with its meaning");
    }

    /// Adds something that could not be checked.
    pub fn cannot(&mut self, check: &'static str, why: impl Into<String>) {
        self.ok = false;
        self.unavailable.push(Unavailable { check, why: why.into() });
    }

    /// Adds something that was checked, whether or not it is as it should be.
    pub fn saw(&mut self, check: &'static str, seen: impl Into<String>) {
        self.checks.push(Seen { check, seen: seen.into() });
    }

    /// Returns the exit status by the contract: invalid settings first, then what could not be checked, then findings.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.settings_are_wrong {
            Exit::Usage
        } else if !self.unavailable.is_empty() {
            Exit::Unreachable
        } else if !self.findings.is_empty() {
            Exit::No
        } else {
            Exit::Ok
        }
    }

    /// Writes the report as text, findings first.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let findings = i64::try_from(self.findings.len()).unwrap_or(i64::MAX);
        let blind = self.unavailable.len();
        match (findings, blind) {
            (0, 0) => writeln!(out, "Nothing is wrong.\n")?,
            (0, _) => writeln!(out, "Nothing wrong was found, but not everything could be checked.\n")?,
            (_, 0) => writeln!(out, "{}:\n", count(findings, "finding"))?,
            (_, _) => writeln!(out, "{}, and not everything could be checked:\n", count(findings, "finding"))?,
        }
        for (number, finding) in (1..).zip(&self.findings) {
            let lead = format!("{number}. ");
            wrapped(out, &lead, &finding.what)?;
            wrapped(out, &format!("{:width$}-> ", "", width = lead.len()), &finding.remedy)?;
            writeln!(out)?;
        }
        if !self.unavailable.is_empty() {
            writeln!(out, "Could not be checked:")?;
            let width = self.unavailable.iter().map(|one| one.check.len()).max().unwrap_or(0);
            for one in &self.unavailable {
                wrapped(out, &format!("  {:width$}  ", one.check), &one.why)?;
            }
            writeln!(out)?;
        }
        if !self.checks.is_empty() {
            writeln!(out, "Checked:")?;
            let width = self.checks.iter().map(|one| one.check.len()).max().unwrap_or(0);
            for one in &self.checks {
                wrapped(out, &format!("  {:width$}  ", one.check), &one.seen)?;
            }
        }
        Ok(())
    }
}
