//! The provider's state, as in the ledger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Done},
    objects::{Intent, Refund},
};

/// One line of the ledger: everything that one request changed, so that a crash leaves all of it or nothing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// The answer stored under an idempotency key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    pub key: String,
    /// The path and parameters of its first request.
    pub asked: String,
    pub answer: Answer,
}

/// The complete state.
#[derive(Debug, Default)]
pub struct Books {
    pub intents: BTreeMap<String, Intent>,
    pub refunds: BTreeMap<String, Refund>,
    pub keys: BTreeMap<String, Key>,
}

impl Books {
    /// Applies a line of the ledger.
    fn apply(&mut self, entry: Entry) {
        if let Some(intent) = entry.intent {
            self.intents.insert(intent.id.clone(), intent);
        }
        if let Some(refund) = entry.refund {
            self.refunds.insert(refund.id.clone(), refund);
        }
        if let Some(key) = entry.key {
            self.keys.insert(key.key.clone(), key);
        }
    }

    /// Applies the result of a request; returns its line for the ledger, if there is anything to write.
    pub fn record(&mut self, done: Done, key: Option<(String, String)>) -> Option<String> {
        let Done { answer, intent, refund, kept } = done;
        let key = key.filter(|_| kept).map(|(key, asked)| Key { key, asked, answer });
        let entry = Entry { intent, refund, key };
        if entry.intent.is_none() && entry.refund.is_none() && entry.key.is_none() {
            return None;
        }
        let line = serde_json::to_string(&entry).ok();
        self.apply(entry);
        line
    }

    /// Returns the refunds of an intent, oldest first.
    pub fn refunds_of<'b>(&'b self, intent: &'b str) -> impl Iterator<Item = &'b Refund> {
        self.refunds.values().filter(move |refund| refund.payment_intent == intent)
    }
}

impl FromIterator<Entry> for Books {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut books = Self::default();
        for entry in entries {
            books.apply(entry);
        }
        books
    }
}
