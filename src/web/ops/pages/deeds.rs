//! Operators' actions, in sentences for the console.

use serde_json::{Map, Value};

use crate::{
    ops::{What, words::count},
    store::actions::Action,
};

/// Returns an action in one or two sentences. An action or detail that this version does not know is shown as recorded.
pub fn deed(action: &Action) -> String {
    let details = action.details.as_object().cloned().unwrap_or_default();
    let mut record = Record { details, begun: action.outcome == "begun" };
    let target = action.target.as_str();
    let sentence = match action.what.as_str() {
        what if what == What::SetStock.as_str() => record.stock(target),
        what if what == What::Replay.as_str() => record.replay(target),
        what if what == What::Discard.as_str() => record.discard(target),
        what if what == What::Republish.as_str() => record.republish(target),
        what if what == What::LogIn.as_str() => Some("Logged in to the console.".to_owned()),
        what if what == What::LogOut.as_str() => Some("Logged out of the console.".to_owned()),
        _ => None,
    };
    let sentence = sentence.unwrap_or_else(|| format!("{}: {target}.", action.what));
    let rest = record.rest();
    if rest.is_empty() { sentence } else { format!("{sentence} {rest}") }
}

/// The details that no sentence has used yet.
struct Record {
    details: Map<String, Value>,
    begun: bool,
}

impl Record {
    fn number(&mut self, name: &str) -> Option<i64> {
        self.details.remove(name)?.as_i64()
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.details.remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn stock(&mut self, sku: &str) -> Option<String> {
        let (available, before) = (self.number("available")?, self.number("before")?);
        // `expected` equals `before`, or nothing would have been changed.
        self.number("expected");
        Some(match available - before {
            0 => format!("Left the stock of {sku} at {available}."),
            change => format!("Set the stock of {sku} from {before} to {available} ({change:+})."),
        })
    }

    fn replay(&mut self, queue: &str) -> Option<String> {
        // The page links to the replay next to the sentence.
        self.details.remove("replay_id");
        if self.begun {
            return Some(format!("Began to replay {}.", self.chosen(queue)));
        }
        let (sent, applied, died) = (self.number("sent")?, self.number("applied")?, self.number("died_again")?);
        let messages = match self.number("selected") {
            Some(selected) => format!("{sent} of {}", count(selected, "message")),
            None => count(sent, "message"),
        };
        let (queues, why) = (queues(queue), self.why());
        Some(format!("Replayed {messages} of {queues}: {applied} applied, {died} failed again{why}"))
    }

    fn discard(&mut self, queue: &str) -> Option<String> {
        if self.begun {
            let kept = self.text("file").map(|file| format!(" They are kept in {file}."));
            return Some(format!("Began to discard {}.{}", self.chosen(queue), kept.unwrap_or_default()));
        }
        let gone = self.number("discarded")?;
        Some(format!("Discarded {} of {}{}", count(gone, "message"), queues(queue), self.why()))
    }

    fn republish(&mut self, queue: &str) -> Option<String> {
        if self.begun {
            let found = self.number("found")?;
            let purged = self.details.remove("purged") == Some(Value::Bool(true));
            let force = self.details.remove("force") == Some(Value::Bool(true));
            let purged = if purged { ", including purged events" } else { "" };
            let force = if force { ", even if they may still be in progress" } else { "" };
            return Some(format!("Began to republish {} for {}{purged}{force}.", count(found, "event"), queues(queue)));
        }
        let sent = self.number("sent").map(|sent| count(sent, "event"));
        Some(format!("Republished {} for {}{}", sent.as_deref().unwrap_or("events"), queues(queue), self.why()))
    }

    /// Returns the selection as a phrase.
    fn chosen(&mut self, queue: &str) -> String {
        let mut phrase = match self.number("selected") {
            Some(selected) => format!("{} of {}", count(selected, "message"), queues(queue)),
            None => format!("messages of {}", queues(queue)),
        };
        if let Some(order) = self.text("order") {
            phrase.push_str(&format!(", order {order}"));
        }
        if let Some(reason) = self.text("reason") {
            phrase.push_str(&format!(", whose reason contains “{reason}”"));
        }
        if let Some(Value::Array(names)) = self.details.remove("messages") {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            phrase.push_str(&format!(", named {}", names.join(", ")));
        }
        if let Some(limit) = self.number("limit") {
            phrase.push_str(&format!(", at most {limit}"));
        }
        phrase
    }

    /// Returns the end of a sentence: the reason if the action ended early, and the full stop.
    fn why(&mut self) -> String {
        self.text("why").map_or_else(|| ".".to_owned(), |why| format!(": {}.", why.trim_end_matches('.')))
    }

    /// Returns the details not yet used: `found 3; purged yes`.
    fn rest(&self) -> String {
        let one = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
                other => other.to_string(),
            };
            Some(format!("{} {value}", name.replace('_', " ")))
        };
        self.details.iter().filter_map(one).collect::<Vec<_>>().join("; ")
    }
}

fn queues(target: &str) -> &str {
    if target == "*" { "all queues" } else { target }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn sentence(what: &str, target: &str, outcome: &str, details: Value) -> String {
        deed(&Action {
            action_id: 1,
            at: DateTime::UNIX_EPOCH,
            who: "ada".to_owned(),
            role: "operate".to_owned(),
            what: what.to_owned(),
            target: target.to_owned(),
            details,
            request_id: Uuid::nil(),
            outcome: outcome.to_owned(),
        })
    }

    #[test]
    fn every_action_has_a_sentence() {
        let queue = "payment.order-created";
        for (what, target, outcome, details, expected) in [
            (
                "stock.set",
                "MUG",
                "done",
                json!({ "before": 5, "available": 12, "expected": 5 }),
                "Set the stock of MUG from 5 to 12 (+7).",
            ),
            ("stock.set", "MUG", "done", json!({ "before": 12, "available": 12 }), "Left the stock of MUG at 12."),
            ("console.log-in", "/ops", "done", json!({}), "Logged in to the console."),
            ("console.log-out", "/ops", "done", json!({}), "Logged out of the console."),
            (
                "dead-letters.replay",
                queue,
                "begun",
                json!({ "order": "4Z8K2M9Q10", "reason": "no route", "limit": 3, "replay_id": Uuid::nil() }),
                "Began to replay messages of payment.order-created, order 4Z8K2M9Q10, whose reason contains “no route”, at most 3.",
            ),
            (
                "dead-letters.replay",
                "*",
                "begun",
                json!({ "messages": ["a", "b"], "selected": 2 }),
                "Began to replay 2 messages of all queues, named a, b.",
            ),
            (
                "dead-letters.replay",
                queue,
                "stopped",
                json!({ "selected": 3, "sent": 1, "applied": 0, "died_again": 1, "why": "one died again", "replay_id": "x" }),
                "Replayed 1 of 3 messages of payment.order-created: 0 applied, 1 failed again: one died again.",
            ),
            (
                "dead-letters.discard",
                queue,
                "begun",
                json!({ "selected": 1, "file": "/tmp/x" }),
                "Began to discard 1 message of payment.order-created. They are kept in /tmp/x.",
            ),
            (
                "dead-letters.discard",
                queue,
                "failed",
                json!({ "discarded": 2, "why": "the broker is gone." }),
                "Discarded 2 messages of payment.order-created: the broker is gone.",
            ),
            (
                "events.republish",
                "*",
                "begun",
                json!({ "purged": true, "force": false, "found": 1 }),
                "Began to republish 1 event for all queues, including purged events.",
            ),
            ("events.republish", "*", "done", json!({ "sent": 4 }), "Republished 4 events for all queues."),
        ] {
            assert_eq!(sentence(what, target, outcome, details), expected);
        }
    }

    /// Another version may record details that this one does not know: all are shown, and none as JSON.
    #[test]
    fn unknown_actions_and_details_are_shown_as_recorded() {
        let unknown =
            sentence("order.hold", "4Z8K2M9Q10", "done", json!({ "until": "noon", "by_phone": true, "n": 2 }));
        assert_eq!(unknown, "order.hold: 4Z8K2M9Q10. by phone yes; n 2; until noon");
        let more = sentence("stock.set", "MUG", "done", json!({ "before": 1, "available": 2, "shelf": "B" }));
        assert_eq!(more, "Set the stock of MUG from 1 to 2 (+1). shelf B");
        assert_eq!(sentence("stock.set", "MUG", "done", json!({})), "stock.set: MUG.");
    }
}
