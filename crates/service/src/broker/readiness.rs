//! Checks whether the broker is available and set up, for health checks and a worker's start.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, Metrics, RecycleResult};
use deadpool_lapin::{PoolConfig, PoolError, Timeouts};
use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    runtime,
    types::FieldTable,
    uri::AMQPUri,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Connector, Full, NoVhost, connection, names};
use crate::{telemetry, tls};

/// The time limit for each of these: connecting, waiting for a pooled connection, waiting for an answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit per queue when several are inspected, if that is longer in total. A busy node answers within some
/// milliseconds.
const EACH_WITHIN: Duration = Duration::from_millis(100);

/// The time limit for querying all nodes in turn, so that a health check never waits longer.
const TIMEOUT_OF_ALL: Duration = Duration::from_secs(10);

/// The purpose of these connections, in the management UI.
const PURPOSE: &str = "checks";

/// AMQP's reply code for something that does not exist.
const NOT_FOUND: u16 = 404;

/// Why the broker is not ready.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Unreachable, or no answer in time.
    #[error("RabbitMQ cannot be reached: {0}")]
    Unreachable(String),
    /// Reachable, but the virtual host is missing, or the user may not access it.
    #[error(transparent)]
    NoVhost(#[from] NoVhost),
    /// Reachable, but an exchange or queue does not exist.
    #[error("{0} does not exist in RabbitMQ: run `orderflow topology apply`")]
    Missing(String),
}

/// The contents of a queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait for a consumer, without those that a consumer holds.
    pub ready: u32,
    /// Consumers of the queue.
    pub consumers: u32,
}

/// Short queries to the broker, over pooled connections of their own, so that they disturb neither the publisher's nor
/// a consumer's. Queries the node that answered last, and the next one if that is unavailable. Cheap to clone.
#[derive(Clone)]
pub struct BrokerCheck {
    nodes: Vec<Node>,
    answered: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Node {
    uri: AMQPUri,
    pool: managed::Pool<Checks>,
}

/// Makes the pool's connections.
struct Checks {
    connector: Connector,
    uri: AMQPUri,
    /// deadpool-lapin's own manager (0.14), which cannot be configured to trust another CA.
    usual: deadpool_lapin::Manager,
}

impl managed::Manager for Checks {
    type Type = Connection;
    type Error = lapin::Error;

    async fn create(&self) -> lapin::Result<Connection> {
        if self.connector.has_own_ca() {
            return self.connector.connect_to(&self.uri, connection::introduced(&self.connector.name(PURPOSE))).await;
        }
        self.usual.create().await
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<lapin::Error> {
        self.usual.recycle(connection, metrics).await
    }
}

impl std::fmt::Debug for BrokerCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerCheck").finish_non_exhaustive()
    }
}

impl BrokerCheck {
    /// Returns a check that connects only when first used.
    ///
    /// # Errors
    /// Fails if the connection pool cannot be created.
    pub fn new(connector: &Connector) -> Result<Self, NotReady> {
        let pool = |uri: &AMQPUri| {
            let config = PoolConfig {
                timeouts: Timeouts { wait: Some(TIMEOUT), create: Some(TIMEOUT), recycle: Some(TIMEOUT) },
                ..PoolConfig::new(1)
            };
            let unusable = |error: &dyn std::error::Error| NotReady::Unreachable(telemetry::chain(error));
            let name = connector.name(PURPOSE);
            let introduced = move || connection::introduced(&name);
            let runtime = runtime::default_runtime().map_err(|error| unusable(&error))?;
            let usual = deadpool_lapin::Manager::new(url(uri), introduced, runtime);
            let checks = Checks { connector: connector.clone(), uri: uri.clone(), usual };
            let building = managed::Pool::builder(checks).config(config).runtime(deadpool::Runtime::Tokio1);
            building.build().map_err(|error| unusable(&error))
        };
        let nodes: Result<_, NotReady> =
            connector.uris().iter().map(|uri| Ok(Node { uri: uri.clone(), pool: pool(uri)? })).collect();
        Ok(Self { nodes: nodes?, answered: Arc::default() })
    }

    /// Checks that the broker answers and has the exchange that events are published to.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn exchange_exists(&self) -> Result<(), NotReady> {
        self.one(Question::Exchange(names::EVENTS), names::EVENTS).await.map(drop)
    }

    /// Checks that the broker answers and has this queue.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn queue_exists(&self, queue: &str) -> Result<(), NotReady> {
        self.inspect_queue(queue).await.map(drop)
    }

    /// Returns how many messages of this queue wait for a consumer, without those that a consumer holds.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn ready_messages(&self, queue: &str) -> Result<u32, NotReady> {
        Ok(self.inspect_queue(queue).await?.ready)
    }

    /// Returns the contents of this queue now. The management API's figures are up to five seconds old.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn inspect_queue(&self, queue: &str) -> Result<QueueState, NotReady> {
        self.one(Question::Queues(&[queue]), queue).await
    }

    /// Returns the same as [`BrokerCheck::inspect_queue`] for several queues, in little more time. Leaves out queues
    /// that do not exist.
    ///
    /// # Errors
    /// Returns [`NotReady::Unreachable`].
    pub async fn inspect_queues<'q>(&self, queues: &[&'q str]) -> Result<HashMap<&'q str, QueueState>, NotReady> {
        let states = self.ask(Question::Queues(queues)).await?;
        Ok(queues.iter().zip(states).filter_map(|(queue, state)| Some((*queue, state?))).collect())
    }

    async fn one(&self, question: Question<'_>, name: &str) -> Result<QueueState, NotReady> {
        let states = self.ask(question).await?;
        states.into_iter().next().flatten().ok_or_else(|| NotReady::Missing(name.to_owned()))
    }

    async fn ask(&self, question: Question<'_>) -> Result<Vec<Option<QueueState>>, NotReady> {
        let asking = async {
            let mut last = NotReady::Unreachable("AMQP_URL names no node".to_owned());
            let first = self.answered.load(Ordering::Relaxed);
            for (number, node) in self.nodes.iter().enumerate().cycle().skip(first).take(self.nodes.len()) {
                match question.to(node).await {
                    Err(away @ NotReady::Unreachable(_)) => last = away,
                    answer => {
                        self.answered.store(number, Ordering::Relaxed);
                        return answer;
                    }
                }
            }
            Err(last)
        };
        let late = |_| Err(NotReady::Unreachable(format!("no answer within {TIMEOUT_OF_ALL:?}")));
        tokio::time::timeout(TIMEOUT_OF_ALL, asking).await.unwrap_or_else(late)
    }
}

/// Returns the URL of this node for deadpool-lapin, which accepts nothing else. The library that parses it
/// (amq-protocol-uri 10.6) accepts only host names and decodes them. It replaces an IPv6 address in brackets by
/// `localhost`. So the host is percent-encoded here.
fn url(uri: &AMQPUri) -> String {
    let mut uri = uri.clone();
    uri.authority.host = utf8_percent_encode(&uri.authority.host, NON_ALPHANUMERIC).to_string();
    uri.to_string()
}

/// A query: whether something exists, and for queues their contents.
#[derive(Debug, Clone, Copy)]
enum Question<'q> {
    Exchange(&'q str),
    Queues(&'q [&'q str]),
}

impl Question<'_> {
    /// Returns an answer for each name; `None` for one that does not exist.
    async fn to(self, node: &Node) -> Result<Vec<Option<QueueState>>, NotReady> {
        let unreachable = |error: &dyn std::error::Error| NotReady::Unreachable(telemetry::chain(error));
        let connection = node.pool.get().await.map_err(|error| match &error {
            PoolError::Backend(refused) => {
                let known = (NoVhost::behind(refused, &node.uri), Full::behind(refused), tls::explain(refused));
                match known {
                    (Some(no), ..) => no.into(),
                    (_, Some(full), _) => NotReady::Unreachable(full.to_string()),
                    (.., Some(why)) => NotReady::Unreachable(format!("the TLS handshake failed: {why}")),
                    (None, None, None) => unreachable(&error),
                }
            }
            _ => unreachable(&error),
        })?;
        let within = match self {
            Self::Exchange(_) => TIMEOUT,
            Self::Queues(queues) => TIMEOUT.max(EACH_WITHIN * u32::try_from(queues.len()).unwrap_or(u32::MAX)),
        };
        match tokio::time::timeout(within, self.over(&connection)).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(NotReady::Unreachable(format!("no answer within {within:?}"))),
        }
    }

    async fn over(self, connection: &Connection) -> lapin::Result<Vec<Option<QueueState>>> {
        let names = match &self {
            Self::Exchange(name) => std::slice::from_ref(name),
            Self::Queues(names) => names,
        };
        let mut answers = Vec::with_capacity(names.len());
        let mut channel = connection.create_channel().await?;
        for name in names {
            match self.about(name, &channel).await {
                Ok(state) => answers.push(Some(state)),
                Err(error) if is_not_found(&error) => {
                    answers.push(None);
                    // The broker closes the channel after a negative answer.
                    channel = connection.create_channel().await?;
                }
                Err(error) => return Err(error),
            }
        }
        channel.close(200, "done".into()).await?;
        Ok(answers)
    }

    async fn about(self, name: &str, channel: &Channel) -> lapin::Result<QueueState> {
        let table = FieldTable::default();
        match self {
            Self::Exchange(_) => {
                let passive =
                    ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
                channel.exchange_declare(name.into(), ExchangeKind::Topic, passive, table).await?;
                Ok(QueueState { ready: 0, consumers: 0 })
            }
            Self::Queues(_) => {
                let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
                let queue = channel.queue_declare(name.into(), passive, table).await?;
                Ok(QueueState { ready: queue.message_count(), consumers: queue.consumer_count() })
            }
        }
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, Source};

    /// The pool parses its URL again: it must connect to the node that the setting names.
    #[test]
    fn pool_connects_to_the_node_that_the_setting_names() {
        for url_given in [
            "amqp://u%40:p%2F%3A@[::1]:5673/%2Fshop?heartbeat=7",
            "amqps://u:p@rabbit_1.example/v",
            "amqp://u:p@127.0.0.1",
        ] {
            let source: Source = [("AMQP_URL".to_owned(), url_given.to_owned())].into_iter().collect();
            let connector = Connector::new(&BrokerConfig::read(&source).expect("a URL"), "test");
            let uri = connector.uris().first().expect("a node");
            assert_eq!(url(uri).parse().as_ref(), Ok(uri), "{url_given}");
        }
    }
}
