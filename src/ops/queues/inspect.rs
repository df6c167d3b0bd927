//! Reads the state of queues: depths from the broker, rates from the database. Each is read separately and within a
//! time bound, so that an unavailable or hanging server does not hide the other.

use std::{collections::HashMap, time::Duration};

use crate::{
    broker::{Management, ManagementError, QueueDepth},
    ops::lack::{Lack, explained},
    services::roster,
};

use orderflow_service::{
    broker::{BrokerCheck, Connector, NoVhost, NotReady, QueueState},
    config::AdminConfig,
    store::{
        Connection, Database, StoreError, failures, outbox,
        pace::{self, Measured},
    },
};

/// The most rows of the outbox to count of each event type.
const OUTBOX_ROWS: i64 = 100_000;

/// What the database knows about queues.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The measurements of each worker process.
    pub paces: Vec<Measured>,
    /// Messages in retry tiers, by work queue.
    pub retrying: HashMap<String, i64>,
    /// Events that are not published yet.
    pub outbox: outbox::Depths,
}

impl Known {
    /// Reads it from the database.
    ///
    /// # Errors
    /// Returns database errors.
    pub async fn read(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(Self {
            paces: pace::recent(connection).await?,
            retrying: failures::retrying(connection).await?,
            outbox: outbox::depths(connection, OUTBOX_ROWS).await?,
        })
    }
}

/// RabbitMQ as an administrator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    admin: AdminConfig,
    check: BrokerCheck,
}

/// What the broker returned.
#[derive(Debug, Default)]
pub struct Depths {
    /// Its queues; `None` if it returned nothing.
    pub queues: Option<Vec<QueueDepth>>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

impl Broker {
    /// Returns a client that connects on first use.
    ///
    /// # Errors
    /// Fails if the connection pool cannot be created.
    pub fn new(connector: &Connector, admin: AdminConfig) -> Result<Self, NotReady> {
        Ok(Self { admin, check: BrokerCheck::new(connector)? })
    }

    /// Returns access over AMQP alone, for the current state.
    #[must_use]
    pub fn check(&self) -> &BrokerCheck {
        &self.check
    }

    /// Reads the queues within `bound`. Rates come from the management API. Message and consumer counts, on which
    /// operators act, come from the queues themselves, because the API's figures are up to five seconds old.
    pub async fn depths(&self, bound: Duration) -> Depths {
        let names: Vec<String> =
            roster().subscriptions().iter().flat_map(|one| [one.queue(), one.dead_letter_queue()]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let statistics = self.statistics(bound);
        let looking = tokio::time::timeout(bound, self.check.inspect_queues(&names));
        let (statistics, states) = tokio::join!(statistics, looking);
        let states = states.unwrap_or_else(|_| Err(NotReady::Unreachable(format!("no answer within {bound:?}"))));
        match (statistics, states) {
            (Err(Unanswered::NoVhost(no)), _) | (_, Err(NotReady::NoVhost(no))) => {
                Depths { queues: None, unavailable: vec![no.to_string()] }
            }
            (Err(Unanswered::Api(error)), states) => with_missing(&names, together(&names, Err(error), states)),
            (Ok(statistics), states) => with_missing(&names, together(&names, Ok(statistics), states)),
        }
    }

    /// Reads the statistics. A refusal may mean that the virtual host does not exist: versions of RabbitMQ differ in
    /// that answer.
    async fn statistics(&self, bound: Duration) -> Result<Vec<QueueDepth>, Unanswered> {
        let management = Management::within(self.admin.clone(), bound)?;
        match management.depths().await {
            Err(ManagementError::Refused { .. }) if !management.has_vhost().await? => {
                let who = management.whoami().await?;
                Err(Unanswered::NoVhost(NoVhost::unlisted(&self.admin.vhost, &who.name, who.is_administrator())))
            }
            answer => Ok(answer?),
        }
    }
}

/// Why the management API has no statistics.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    NoVhost(NoVhost),
    #[error(transparent)]
    Api(#[from] ManagementError),
}

/// Adds the queues that do not exist, in one sentence. If none exists, no queue is known.
fn with_missing(names: &[&str], mut depths: Depths) -> Depths {
    let Some(queues) = &depths.queues else { return depths };
    let is_missing = |name: &&&str| !queues.iter().any(|queue| queue.name == **name);
    let missing: Vec<String> = names.iter().filter(is_missing).map(|name| (*name).to_owned()).collect();
    depths.unavailable.extend(Lack::queues(&missing).map(|lack| lack.to_string()));
    if missing.len() == names.len() {
        depths.queues = None;
    }
    depths
}

/// Combines the statistics of existing queues with their current state, which is newer.
fn together(
    names: &[&str],
    statistics: Result<Vec<QueueDepth>, ManagementError>,
    states: Result<HashMap<&str, QueueState>, NotReady>,
) -> Depths {
    let mut unavailable = Vec::new();
    let mut known: Option<HashMap<String, QueueDepth>> = match statistics {
        Ok(depths) => Some(depths.into_iter().map(|depth| (depth.name.clone(), depth)).collect()),
        Err(error) => {
            unavailable.push(error.explained());
            None
        }
    };
    match states {
        Ok(states) => {
            let mut now = |name: &&str| {
                let before = known.as_mut().and_then(|known| known.remove(*name)).unwrap_or_default();
                states.get(name).map(|state| before.now(name, *state))
            };
            Depths { queues: Some(names.iter().filter_map(&mut now).collect()), unavailable }
        }
        Err(error) => {
            let older = "so message counts are up to five seconds old, and consumers are not known";
            unavailable.push(format!("{error}, {older}. Is AMQP_ADMIN_URL right, and its port open?"));
            let without = |mut depth: QueueDepth| {
                depth.consumers = None;
                depth
            };
            let queues = known.map(|known| known.into_values().map(without).collect());
            Depths { queues, unavailable }
        }
    }
}

/// Reads the database within `bound`; returns why that failed.
pub async fn database(database: &Database, bound: Duration) -> Result<Known, String> {
    database.run(bound, Known::read).await.map_err(|error| explained(&error))
}
