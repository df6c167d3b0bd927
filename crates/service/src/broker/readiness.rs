//! Is the broker there, and is it set up? For health checks and for a worker's start.

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

/// For each of connecting, the wait for a connection, and an answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// For each of several queues, where that is longer: a busy node answers in some milliseconds.
const EACH_WITHIN: Duration = Duration::from_millis(100);

/// For a question to all nodes together, one after the other: whoever asks for a health check waits no longer.
const TIMEOUT_OF_ALL: Duration = Duration::from_secs(10);

/// What these connections are for, in the management UI.
const PURPOSE: &str = "checks";

/// AMQP's reply code for what does not exist.
const NOT_FOUND: u16 = 404;

/// Why the broker cannot be worked with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Not reached, or no answer in time.
    #[error("RabbitMQ cannot be reached: {0}")]
    Unreachable(String),
    /// Reached, but the virtual host is missing, or closed to the user.
    #[error(transparent)]
    NoVhost(#[from] NoVhost),
    /// Reached, but something does not exist there.
    #[error("{0} does not exist in RabbitMQ: run `orderflow topology apply`")]
    Missing(String),
}

/// What was in a queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait; those that a consumer holds are not among them.
    pub ready: u32,
    /// Who consumes it.
    pub consumers: u32,
}

/// Short-lived questions to the broker, over pooled connections of their own: neither the publisher's nor a consumer's
/// connection is disturbed by them. Of several nodes it asks the one that answered last, and the next where that is
/// away. Cheap to clone.
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
    /// deadpool-lapin's own (0.14), which cannot be told to trust another CA.
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
    /// Connects only when asked something.
    ///
    /// # Errors
    /// When the pool cannot be made.
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

    /// The broker answers and has the exchange that events are published to.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn exchange_exists(&self) -> Result<(), NotReady> {
        self.one(Question::Exchange(names::EVENTS), names::EVENTS).await.map(drop)
    }

    /// The broker answers and has this queue.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn queue_exists(&self, queue: &str) -> Result<(), NotReady> {
        self.inspect_queue(queue).await.map(drop)
    }

    /// How many messages of this queue wait for a consumer; those that a consumer has in hand are not among them.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn ready_messages(&self, queue: &str) -> Result<u32, NotReady> {
        Ok(self.inspect_queue(queue).await?.ready)
    }

    /// What is in this queue at this moment. The management API's figures are up to five seconds old.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn inspect_queue(&self, queue: &str) -> Result<QueueState, NotReady> {
        self.one(Question::Queues(&[queue]), queue).await
    }

    /// Returns the same as [`BrokerCheck::inspect_queue`] for several queues, in little more time. Leaves out those that do
    /// not exist.
    ///
    /// # Errors
    /// [`NotReady::Unreachable`].
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
            let mut last = NotReady::Unreachable("no node is named".to_owned());
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

/// The URL of this node for deadpool-lapin, which takes nothing else. The library that reads it (amq-protocol-uri 10.6) knows
/// only names of hosts, takes `localhost` for an IPv6 address in brackets, and decodes a name: so this is one, percent-encoded.
fn url(uri: &AMQPUri) -> String {
    let mut uri = uri.clone();
    uri.authority.host = utf8_percent_encode(&uri.authority.host, NON_ALPHANUMERIC).to_string();
    uri.to_string()
}

/// What is asked: whether it is there, and of queues what is in them.
#[derive(Debug, Clone, Copy)]
enum Question<'q> {
    Exchange(&'q str),
    Queues(&'q [&'q str]),
}

impl Question<'_> {
    /// An answer for each that is asked for; `None` for what does not exist.
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
                    // The broker closes the channel of a question that it answers with no.
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

    /// The pool reads its URL again: what it then connects to is what the setting says.
    #[test]
    fn the_pool_means_the_node_that_the_setting_means() {
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
