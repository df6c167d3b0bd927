use std::{str::FromStr, sync::Arc};

use globset::{Glob, GlobMatcher};
use orderflow_order::{domain::OrderNumber, store::orders};
use orderflow_service::{
    Subscription,
    broker::names,
    store::{ANSWER_WITHIN, Connection},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, Snapshot, group::pattern, report};
use crate::{broker::DeadLetter, ops::Failed, services::roster};

/// A queue's name or a pattern such as `payment.*`; the name of its dead-letter queue also works.
#[derive(Debug, Clone)]
pub struct QueuePattern {
    matcher: Arc<GlobMatcher>,
}

impl FromStr for QueuePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let glob = Glob::new(text.strip_suffix(names::DEAD_LETTER_SUFFIX).unwrap_or(text))
            .map_err(|_| "neither a queue's name nor a pattern such as 'payment.*'".to_owned())?;
        Ok(Self { matcher: Arc::new(glob.compile_matcher()) })
    }
}

impl QueuePattern {
    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.matcher.glob().glob()
    }

    /// Checks that the pattern matches a queue. This cannot happen while the command line is parsed, because registered
    /// services are known only later.
    ///
    /// # Errors
    /// Returns a message that names all queues.
    pub fn check(&self) -> Result<(), String> {
        if roster().subscriptions().iter().any(|subscription| self.matches(*subscription)) {
            return Ok(());
        }
        let known: Vec<_> = roster().subscriptions().iter().map(|subscription| subscription.queue()).collect();
        Err(format!("{:?}: no queue has this name; known queues: {}", self.as_str(), known.join(", ")))
    }

    /// Returns whether the pattern matches this subscription's queue.
    #[must_use]
    pub fn matches(&self, subscription: Subscription) -> bool {
        self.matcher.is_match(subscription.queue())
    }
}

/// Checks that the queue given to a command exists.
///
/// # Errors
/// Returns [`Failed::Usage`] if not.
pub fn check_queue(queue: Option<&QueuePattern>) -> Result<(), Failed> {
    queue.map_or(Ok(()), QueuePattern::check).map_err(|why| Failed::Usage(format!("--queue {why}")))
}

/// Selects the dead letters that meet all given conditions.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selection {
    /// Only this queue, by name or pattern: payment.order-created, or 'payment.*'
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub queue: Option<QueuePattern>,
    /// Only messages whose reason contains this text, as `orderflow dlq list` shows it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only this order
    #[arg(long, value_name = "ID-OR-NUMBER")]
    pub order: Option<String>,
    /// Only this message; may be repeated
    #[arg(long = "message", value_name = "ID")]
    pub messages: Vec<String>,
    /// At most this many: queue by queue, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// All dead letters: required if nothing else is selected
    #[arg(long)]
    pub all: bool,
}

impl Selection {
    /// Checks that something is selected at all, and that the queue exists.
    ///
    /// # Errors
    /// Returns [`Failed::Usage`] if not.
    pub fn check(&self) -> Result<(), Failed> {
        check_queue(self.queue.as_ref())?;
        let chosen = self.queue.is_some() || self.reason.is_some() || self.order.is_some() || !self.messages.is_empty();
        if chosen || self.all || self.limit.is_some() {
            return Ok(());
        }
        let usage = "select by --queue, --reason, --order, --message or --limit, or pass --all (see --help)";
        Err(Failed::Usage(usage.to_owned()))
    }

    /// Returns the queues as the operator wrote them.
    pub(crate) fn target(&self) -> String {
        self.queue.as_ref().map_or("*", QueuePattern::as_str).to_owned()
    }

    /// Returns the other conditions.
    pub(crate) fn details(&self) -> Value {
        let mut details = json!({});
        let mut given = |name: &str, value: Value| {
            if !value.is_null() {
                put(&mut details, name, value);
            }
        };
        given("reason", json!(self.reason));
        given("order", json!(self.order));
        given("limit", json!(self.limit));
        if !self.messages.is_empty() {
            given("messages", json!(self.messages));
        }
        details
    }

    /// Returns the selected queues.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        let chosen = |one: &Subscription| self.queue.as_ref().is_none_or(|pattern| pattern.matches(*one));
        roster().subscriptions().iter().copied().filter(chosen).collect()
    }

    /// Returns the dead letters that are selected now. They are held until the desk is closed, so messages that arrive
    /// later are not among them. Those that are not selected return to their queue immediately.
    pub(crate) async fn freeze(&self, desk: &mut Desk) -> Result<Snapshot, Failed> {
        let order = match &self.order {
            Some(order) => Some(order_id(desk, order).await?),
            None => None,
        };
        let mut snapshot = desk.read(&self.subscriptions()).await?;
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let (mut chosen, mut others) = (Vec::new(), Vec::new());
        for letter in std::mem::take(&mut snapshot.dead_letters) {
            if chosen.len() < limit && self.matches(&letter, order) {
                chosen.push(letter);
            } else {
                others.push(letter);
            }
        }
        for other in others {
            other.put_back().await;
        }
        snapshot.dead_letters = chosen;
        Ok(snapshot)
    }

    fn matches(&self, letter: &DeadLetter, order: Option<Uuid>) -> bool {
        let says =
            |text: &String| letter.reason.contains(text.as_str()) || pattern(&letter.reason).contains(text.as_str());
        self.reason.as_ref().is_none_or(says)
            && (order.is_none() || letter.order_id == order)
            && (self.messages.is_empty() || self.messages.contains(&letter.id))
    }
}

/// Adds a field to an object.
pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

async fn order_id(desk: &Desk, text: &str) -> Result<Uuid, Failed> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let not_found = |_| Failed::NotFound(report::no_such_order(text));
    let number: OrderNumber = text.parse().map_err(not_found)?;
    let asking = async |connection: &mut Connection| orders::id_of_number(connection, number.as_str()).await;
    let found = desk.database.run(ANSWER_WITHIN, asking).await?;
    found.ok_or_else(|| Failed::NotFound(report::no_such_order(text)))
}
