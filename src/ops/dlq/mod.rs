//! `orderflow dlq`: lists, shows, replays and discards messages that could not be handled. `/admin` and the console use
//! the same code.
//!
//! The messages are read over AMQP as an administrator; the database only adds what it knows about them.

mod ask;
pub(crate) mod discard;
pub(crate) mod group;
mod list;
mod replay;
mod report;
mod selection;
pub(crate) mod sending;
mod show;
pub(crate) mod tracker;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use orderflow_order::store::orders;
use orderflow_service::{
    Subscription,
    broker::{BrokerError, Connector, NotReady},
    config::{BrokerConfig, DatabaseConfig, Source},
    store::{ANSWER_WITHIN, Connection, Database, StoreError, failures::DeadLetterKey},
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Failed, Principal, What,
    lack::{Lack, explained},
};
use crate::{
    broker::{DeadLetter, DeadLetters},
    store::actions::Outcome,
};

pub use ask::{Answer, ask};
pub use discard::{DiscardOptions, discard};
pub use list::list;
pub use replay::{ReplayOptions, replay};
pub use selection::{QueuePattern, Selection, check_queue};
pub use show::{ShowOptions, show};
pub(crate) use {list::notes, show::Shown};

/// The most messages read in one run, of all queues together: reading them takes a few seconds, and holding them a few
/// megabytes. At least one is read of each queue, so that no queue is mistaken for empty.
const LOOKED_AT: u16 = 10_000;

/// The version of the JSON that these commands write.
const SCHEMA_VERSION: u32 = 1;

/// The connections that commands and console share.
pub(crate) struct Desk {
    pub(crate) connector: Connector,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) database: Database,
}

impl Desk {
    async fn open(source: &Source) -> Result<Self, Failed> {
        let (broker, database) = (BrokerConfig::read_admin(source), DatabaseConfig::read(source));
        let (broker, database) = source.finish(broker.zip(database))?;
        let connector = Connector::new(&broker, "orderflow dlq");
        Ok(Self::at(connector, Database::new(&database, "orderflow dlq", 1)?).await?)
    }

    /// Connects as the user of `AMQP_ADMIN_URL`, which must be allowed to read these queues: `orderflow-ops`, or an
    /// administrator.
    ///
    /// # Errors
    /// Fails if the broker cannot be reached.
    pub(crate) async fn at(connector: Connector, database: Database) -> Result<Self, BrokerError> {
        let dead_letters = DeadLetters::open(&connector).await?;
        Ok(Self { connector, dead_letters, database })
    }

    /// Records an action.
    async fn note(
        &self,
        actor: &Principal,
        what: (What, &str),
        details: &Value,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let noting = async |connection: &mut Connection| actor.note(connection, what, details, outcome).await;
        self.database.run(ANSWER_WITHIN, noting).await
    }

    /// Reads and holds the dead letters of these subscriptions.
    pub(crate) async fn read(&mut self, subscriptions: &[Subscription]) -> Result<Snapshot, Failed> {
        let (mut snapshot, mut missing) = (Snapshot::default(), Vec::new());
        for subscription in subscriptions {
            match self.dead_letters.read(*subscription, left(snapshot.dead_letters.len())).await {
                Ok(found) => {
                    if found.more > 0 {
                        let (queue, looked_at) = (subscription.dead_letter_queue(), found.dead_letters.len());
                        snapshot.more.push(More { queue, looked_at, more: found.more });
                    }
                    snapshot.dead_letters.extend(found.dead_letters);
                }
                Err(NotReady::Missing(queue)) => missing.push(queue),
                Err(unreachable) => return Err(unreachable.into()),
            }
        }
        snapshot.unavailable.extend(Lack::queues(&missing).map(|lack| lack.to_string()));
        Ok(snapshot)
    }

    /// Returns the numbers of those orders that the database knows.
    pub(crate) async fn numbers(
        &self,
        orders: impl Iterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, String>, StoreError> {
        let mut ids: Vec<Uuid> = orders.collect();
        ids.sort_unstable();
        ids.dedup();
        let asking = async |connection: &mut Connection| orders::numbers(connection, &ids).await;
        self.database.run(ANSWER_WITHIN, asking).await
    }
}

/// The contents of dead-letter queues at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Queues that were read only in part.
    pub(crate) more: Vec<More>,
    /// What could not be read, and why.
    pub(crate) unavailable: Vec<String>,
}

/// A queue from which only the first messages were read.
pub(crate) struct More {
    pub(crate) queue: String,
    pub(crate) looked_at: usize,
    /// How many more it has.
    pub(crate) more: u32,
}

/// Returns how many more messages may be read when `held` are held already.
fn left(held: usize) -> u16 {
    LOOKED_AT.saturating_sub(u16::try_from(held).unwrap_or(u16::MAX)).max(1)
}

/// Returns the message's key in the database's index.
fn key(letter: &DeadLetter) -> DeadLetterKey {
    DeadLetterKey { event_id: letter.event_id, subscription: letter.subscription.queue(), died_at: letter.died_at }
}

/// Formats a time: `2026-11-23 02:10:03 UTC`.
fn at(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The first fields of every JSON answer.
#[derive(Serialize)]
struct Head {
    schema_version: u32,
    #[serde(with = "timestamp")]
    generated_at: DateTime<Utc>,
}

impl Head {
    fn now() -> Self {
        Self { schema_version: SCHEMA_VERSION, generated_at: Utc::now() }
    }
}

fn not_from_database(error: &StoreError) -> String {
    format!("the database cannot be read: {}", explained(error))
}

/// Returns the body as JSON if it is JSON, otherwise as text, otherwise as hexadecimal digits.
fn body_of(letter: &DeadLetter) -> Value {
    serde_json::from_slice(letter.body()).unwrap_or_else(|_| match std::str::from_utf8(letter.body()) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => serde_json::json!({ "hex": hex::encode(letter.body()) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_of_messages_is_shared_by_all_queues() {
        assert_eq!([0, 4, 9_999, 10_000, 100_000].map(left), [10_000, 9_996, 1, 1, 1]);
    }
}
