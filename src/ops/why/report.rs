//! One order's whole story, in the form of the contract.

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use serde::Serialize;

use super::{
    facts::{Facts, Order, Stock},
    pending::{self, Missing},
    violations,
    waiting::{self, Wait},
};
use crate::store::story::{Attempt, DeadLetter, Event, Mail, Payment, Shipment, Waiting};

/// The version of [`Report`]'s form. Adding a key does not change it; changing or removing one does.
const SCHEMA_VERSION: u32 = 1;

/// What `orderflow why --json` writes. A part that could not be read is `null` and named in `unavailable`: an empty
/// list means that there is nothing, `null` that it is unknown.
#[derive(Debug, Serialize)]
pub struct Report {
    schema_version: u32,
    /// The time of the snapshot of all parts, by the database's clock.
    #[serde(with = "timestamp")]
    pub generated_at: DateTime<Utc>,
    /// The order itself.
    pub order: Option<Order>,
    /// What it waits for, the most important first; empty if it is settled and nothing is under way.
    pub waiting_for: Option<Vec<Wait>>,
    /// Its history.
    pub events: Option<Vec<Event>>,
    /// Failed attempts.
    pub attempts: Option<Vec<Attempt>>,
    /// Events that the broker has not confirmed.
    pub outbox: Option<Vec<Waiting>>,
    /// Missing deliveries: events that a subscription has not applied and whose whereabouts are unknown.
    pub missing_deliveries: Option<Vec<Missing>>,
    /// Queues of services that do not record what they have applied: their missing deliveries are unknown.
    pub not_tracked: Option<Vec<String>>,
    /// Waiting dead letters.
    pub dead_letters: Option<Vec<DeadLetter>>,
    /// Payments.
    pub payments: Option<Vec<Payment>>,
    /// The reserved stock.
    pub stock: Option<Stock>,
    /// Shipments.
    pub shipments: Option<Vec<Shipment>>,
    /// Mails to the customer.
    pub mails: Option<Vec<Mail>>,
    /// The traces of its events, each once, the earliest first.
    pub trace_ids: Option<Vec<String>>,
    /// Violated invariants; checks whose parts could not be read are omitted.
    pub violations: Vec<String>,
    /// The parts that could not be read, by their names here.
    pub unavailable: Vec<&'static str>,
    /// Why they could not be read, a sentence each: shown to operators, not in the JSON.
    #[serde(skip)]
    pub reasons: Vec<String>,
}

impl Report {
    /// Derives the report from the facts.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        let pending = pending::pending(&facts);
        let waiting_for = pending.as_ref().and_then(|pending| waiting::waiting_for(&facts, pending));
        let missing = pending.as_ref().map(|pending| pending::missing(pending, facts.moment));
        let violations = violations::violations(&facts, pending.as_deref());
        let mut unavailable: Vec<&'static str> = facts.unreadable.iter().map(|(part, _)| *part).collect();
        // These are derived from several parts.
        let derived = [
            ("waiting_for", waiting_for.is_none()),
            ("missing_deliveries", missing.is_none()),
            ("not_tracked", facts.events.is_none()),
            ("trace_ids", facts.events.is_none()),
        ];
        for (part, absent) in derived {
            if absent && !unavailable.contains(&part) {
                unavailable.push(part);
            }
        }
        let reasons = facts.unreadable.iter().map(|(part, why)| format!("{part} cannot be read: {why}")).collect();
        let dead_letters = facts.dead_letters.map(|mut dead_letters| {
            dead_letters.retain(|letter| letter.left_at.is_none());
            dead_letters
        });
        let not_tracked = facts.events.as_deref().map(pending::untracked);
        Self {
            schema_version: SCHEMA_VERSION,
            generated_at: facts.moment,
            order: facts.order.flatten(),
            waiting_for,
            trace_ids: facts.events.as_deref().map(trace_ids),
            events: facts.events,
            attempts: facts.attempts,
            outbox: facts.outbox,
            missing_deliveries: missing,
            not_tracked,
            dead_letters,
            payments: facts.payments,
            stock: facts.stock,
            shipments: facts.shipments,
            mails: facts.mails,
            violations,
            unavailable,
            reasons,
        }
    }

    /// Returns the report when nothing could be read, because the database is unavailable.
    #[must_use]
    pub fn of_nothing() -> Self {
        let mut facts = Facts::none(Utc::now());
        let parts = [
            "order",
            "events",
            "attempts",
            "outbox",
            "missing_deliveries",
            "dead_letters",
            "payments",
            "stock",
            "shipments",
            "mails",
        ];
        facts.unreadable = parts.map(|part| (part, String::new())).into();
        Self::new(facts)
    }
}

/// Returns the trace ids: the second field of a W3C traceparent, `00-<trace id>-<span id>-01`.
fn trace_ids(events: &[Event]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for id in events.iter().filter_map(|event| event.traceparent.as_deref()?.split('-').nth(1)) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}
