//! The messages to watchers, as JSON.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use orderflow_order::domain;
use orderflow_service::metrics;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    store::progress::Progress,
    web::entry::{Entry, entries},
};

/// The state of an order, shared by all its watchers.
#[derive(Debug)]
pub struct State {
    /// The order.
    pub order_id: Uuid,
    /// The order's version.
    pub version: i32,
    /// Whether no more entries can come.
    pub is_final: bool,
    status: String,
    cancel_requested: bool,
    at: DateTime<Utc>,
    entries: Vec<Entry>,
    /// The age of the last change when it was read, and the time of that read.
    age: Duration,
    read: Instant,
}

/// A message. Public: `/openapi.json` describes it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message<'s> {
    /// The current state of the order.
    Snapshot {
        /// The order.
        order_id: Uuid,
        /// The order's version.
        version: i32,
        /// The order's status.
        status: &'s str,
        /// Whether the customer has requested a cancellation.
        cancel_requested: bool,
        /// When it last changed.
        #[serde(with = "timestamp")]
        at: DateTime<Utc>,
    },
    /// One entry of the history.
    Entry {
        /// As in the timeline.
        entry: &'s Entry,
    },
    /// The end: no more entries can come.
    End {
        /// The reason: `final`.
        reason: &'static str,
    },
}

impl State {
    /// Creates the state of an order that was read just now.
    #[must_use]
    pub fn new(order: Progress) -> Self {
        // An unknown event of a newer version: this version cannot tell whether it is the last one.
        let kinds: Result<Vec<_>, _> = order.steps.iter().map(|step| step.event.parse()).collect();
        Self {
            order_id: order.order_id,
            version: order.version,
            is_final: kinds.is_ok_and(|kinds| domain::is_final(&kinds)),
            status: order.status,
            cancel_requested: order.cancel_requested,
            at: order.updated_at,
            entries: entries(&order.steps),
            // The age is negative if the clock was set back.
            age: Duration::try_from_secs_f64(order.age).unwrap_or_default(),
            read: Instant::now(),
        }
    }

    /// Returns the message with the current state.
    #[must_use]
    pub fn snapshot(&self) -> Message<'_> {
        Message::Snapshot {
            order_id: self.order_id,
            version: self.version,
            status: &self.status,
            cancel_requested: self.cancel_requested,
            at: self.at,
        }
    }

    /// Returns the entries after this version, each with its version.
    pub fn after(&self, version: i32) -> impl Iterator<Item = (i32, Message<'_>)> {
        let later = self.entries.iter().filter(move |entry| entry.version > version);
        later.map(|entry| (entry.version, Message::Entry { entry }))
    }

    /// Returns how long ago the order last changed.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age.saturating_add(self.read.elapsed())
    }
}

impl Message<'_> {
    /// Returns the message's text, and counts the message as sent.
    #[must_use]
    pub fn text(&self) -> String {
        metrics::get().live.sent(match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Entry { .. } => "entry",
            Self::End { .. } => "end",
        });
        // Serialization cannot fail: the message contains only texts, numbers and times.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::progress::Step;

    fn state(events: &[&str]) -> State {
        let step = |(event, version): (&&str, i32)| Step {
            version,
            event_id: Uuid::nil(),
            event: (*event).to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
        };
        State::new(Progress {
            order_id: Uuid::nil(),
            status: "paid".to_owned(),
            version: 2,
            cancel_requested: false,
            updated_at: DateTime::UNIX_EPOCH,
            age: 0.0,
            steps: events.iter().zip(1..).map(step).collect(),
        })
    }

    #[test]
    fn messages_have_the_form_of_the_contract() {
        let state = state(&["order.created", "payment.completed"]);
        let as_value = |message: &Message<'_>| -> Value { serde_json::from_str(&message.text()).expect("JSON") };
        assert_eq!(
            as_value(&state.snapshot()),
            json!({"type": "snapshot", "order_id": Uuid::nil(), "version": 2, "status": "paid", "cancel_requested": false,
                   "at": "1970-01-01T00:00:00.000Z"})
        );
        let entries: Vec<_> = state.after(1).map(|(version, message)| (version, as_value(&message))).collect();
        let entry = json!({"version": 2, "event": "payment.completed", "event_id": Uuid::nil(), "status": "paid",
                           "at": "1970-01-01T00:00:00.000Z", "detail": "Your payment is complete."});
        assert_eq!(entries, [(2, json!({"type": "entry", "entry": entry}))]);
        assert_eq!(as_value(&Message::End { reason: "final" }), json!({"type": "end", "reason": "final"}));
        assert!(state.after(2).next().is_none());
    }

    #[test]
    fn an_order_with_an_unknown_event_is_never_final() {
        assert!(state(&["order.created", "payment.failed"]).is_final);
        assert!(!state(&["order.created", "payment.failed", "order.gift-wrapped"]).is_final);
    }
}
